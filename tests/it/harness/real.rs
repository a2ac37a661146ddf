//! Real programs that tests need: started from PATH on free ports, on loopback only.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::program::Program;
use super::{PATIENCE, eventually_some, held_port, some_within};

/// Where a program is. When it is missing the test says so and passes, unless
/// `VESTIBULE_TEST_REQUIRE=all` asks for every real part.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        missing(name);
    }
    found
}

/// Says that a test cannot do anything here, which is a failure where every part is asked for.
pub(crate) fn missing(part: &str) {
    let required = std::env::var_os("VESTIBULE_TEST_REQUIRE").is_some_and(|all| all == "all");
    assert!(
        !required,
        "{part} is missing, and VESTIBULE_TEST_REQUIRE=all"
    );
    eprintln!("{part} is missing: this test did nothing");
}

/// A program with its folder.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    _program: Program,
    folder: TempDir,
}

impl App {
    /// Waits until the program listens there.
    pub(crate) async fn start(command: Command, address: SocketAddr, folder: TempDir) -> Self {
        let mut program = Program::spawn(command);
        program.wait_for_port(address).await;
        Self {
            address,
            _program: program,
            folder,
        }
    }

    /// The same for what takes longer to start than anything else, as a virtual machine does.
    pub(crate) async fn start_slowly(
        command: Command,
        address: SocketAddr,
        folder: TempDir,
    ) -> Self {
        let app = Self {
            address,
            _program: Program::spawn(command),
            folder,
        };
        let what = format!("{address} to listen");
        some_within(4 * PATIENCE, &what, async || {
            TcpStream::connect(address).await.ok()
        })
        .await;
        app
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Apache with these modules and this configuration, in which `FOLDER` is the folder given.
pub(crate) async fn apache(modules: &[&str], config: &str, folder: TempDir) -> Option<App> {
    let modules = [&["mpm_event"], modules].concat();
    start_apache(&modules, config, folder).await
}

/// The same with PHP.
pub(crate) async fn apache_with_php(
    modules: &[&str],
    config: &str,
    folder: TempDir,
) -> Option<App> {
    let installed = fs::read_dir("/usr/lib/apache2/modules").ok();
    let mut installed = installed.into_iter().flatten().flatten();
    let file = installed.find(|file| file.file_name().to_string_lossy().starts_with("libphp"));
    let Some(file) = file else {
        missing("libphp");
        return None;
    };
    let config = format!("LoadModule php_module {}\n{config}", file.path().display());
    let modules = [&["mpm_prefork"], modules].concat();
    start_apache(&modules, &config, folder).await
}

async fn start_apache(modules: &[&str], config: &str, folder: TempDir) -> Option<App> {
    let file = find("apache2")?;
    let mut text = String::new();
    for module in [&["authz_core"], modules].concat() {
        let file = format!("/usr/lib/apache2/modules/mod_{module}.so");
        if !Path::new(&file).is_file() {
            missing(&file);
            return None;
        }
        writeln!(text, "LoadModule {module}_module {file}").unwrap();
    }
    let address = held_port();
    write!(
        text,
        "ServerRoot FOLDER\nServerName localhost\nListen {address}\nPidFile FOLDER/pid\n\
         ErrorLog FOLDER/log\nDefaultRuntimeDir FOLDER\n{config}\n"
    )
    .unwrap();
    let at = folder.path().display().to_string();
    let conf = folder.path().join("apache.conf");
    fs::write(&conf, text.replace("FOLDER", &at)).unwrap();
    let mut command = Command::new(file);
    command.args(["-DFOREGROUND", "-f"]).arg(conf);
    Some(App::start(command, address, folder).await)
}

/// Prometheus, which scrapes itself.
pub(crate) async fn prometheus() -> Option<App> {
    let address = held_port();
    let scrape = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: self\n  \
         static_configs: [{{targets: ['{address}']}}]\n"
    );
    start_prometheus(address, &scrape).await
}

/// Prometheus with a configuration of its own.
pub(crate) async fn prometheus_with(config: &str) -> Option<App> {
    start_prometheus(held_port(), config).await
}

async fn start_prometheus(address: SocketAddr, text: &str) -> Option<App> {
    let file = find("prometheus")?;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    fs::write(&config, text).unwrap();
    let mut command = Command::new(file);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"));
    let app = App {
        address,
        _program: Program::spawn(command),
        folder,
    };
    wait_for_answer(address, "/-/ready").await;
    Some(app)
}

/// `JupyterLab` without a login of its own.
pub(crate) async fn jupyter_lab() -> Option<App> {
    let file = find("jupyter-lab")?;
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let mut command = Command::new(file);
    command
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env("JUPYTER_CONFIG_DIR", folder.path().join("config"))
        .env("JUPYTER_DATA_DIR", folder.path().join("data"))
        .env("JUPYTER_RUNTIME_DIR", folder.path().join("runtime"))
        .env("IPYTHONDIR", folder.path().join("ipython"))
        .args(["--no-browser", "--allow-root", "--ip=127.0.0.1"])
        .arg(format!("--port={}", address.port()))
        .args([
            "--ServerApp.port_retries=0",
            "--ServerApp.allow_remote_access=True",
        ])
        .args(["--ServerApp.token=", "--ServerApp.password="])
        .arg(format!("--ServerApp.root_dir={}", folder.path().display()));
    let app = App {
        address,
        _program: Program::spawn(command),
        folder,
    };
    wait_for_answer(address, "/api").await;
    Some(app)
}

/// Waits until an app answers 200 there.
async fn wait_for_answer(address: SocketAddr, target: &str) {
    let what = format!("an answer of {address}{target}");
    eventually_some(&what, async || {
        let (status, _) = http(address, Request::get(target)).await.ok()?;
        (status == 200).then_some(())
    })
    .await;
}

/// One plain HTTP exchange, not by way of the gate.
pub(crate) async fn http(
    address: SocketAddr,
    request: hyper::http::request::Builder,
) -> Result<(u16, Bytes), Box<dyn std::error::Error>> {
    http_with(address, request, Bytes::new()).await
}

/// The same with a body.
pub(crate) async fn http_with(
    address: SocketAddr,
    request: hyper::http::request::Builder,
    body: Bytes,
) -> Result<(u16, Bytes), Box<dyn std::error::Error>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = request
        .header("host", address.to_string())
        .body(Full::new(body))?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}
