//! `vestibule quickstart`: a login in front of an app within a minute, without any file.
//!
//! What it makes is an ordinary configuration, so that the next step is to copy it.

mod account;
mod certificate;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use tokio_util::sync::CancellationToken;

use self::account::{Password, USER};
use super::Failure;
use crate::config::Config;
use crate::regular_file::{Distrust, Owners, trust};
use crate::sample;
use crate::server::{self, Signal, systemd::Sockets};

/// Below the current directory; relative, because it is shown to people.
const FOLDER: &str = "certs";
const CONFIG: &str = "quickstart.toml";
const SOCKET: &str = "admin.sock";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(help = "The app to put behind the login, as http://127.0.0.1:3000; \
                  a sample app if left out")]
    upstream: Option<String>,
    /// The address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let app = match &args.upstream {
        Some(upstream) => App::Own(upstream),
        None => App::Sample(SampleApp::start()?),
    };
    let text = configuration(args.listen, &app);
    // Everything in it but UPSTREAM is ours, so what is wrong with it is wrong usage. It is parsed
    // before anything is written.
    let parse = |folder: &Path| {
        Config::parse(&text, &folder.join(CONFIG))
            .map_err(|error| Failure::Usage(format!("this UPSTREAM does not work:\n{error}")))
    };
    parse(Path::new(FOLDER))?;
    let folder = match prepare(Path::new(FOLDER)) {
        Ok(()) => PathBuf::from(FOLDER),
        Err(Failure::Failed(why)) => elsewhere(&why)?,
        Err(other) => return Err(other),
    };
    let folder = &*folder;
    let mut config = parse(folder)?;
    // Folders that a machine shares with its guest often cannot hold a socket.
    config.admin = config.admin.if_possible();
    certificate::ensure(folder, args.listen.ip())?;
    let password = account::ensure(folder)?;
    write_private(&folder.join(CONFIG), text.as_bytes())?;
    let mut shown = Ok(());
    // A terminal that is closed takes it along.
    let hang_up = Signal::Stop;
    let path = folder.join(CONFIG);
    server::run(config, &path, hang_up, Sockets::default(), |address| {
        shown = super::print(welcome(folder, address, &app, &password));
    })?;
    shown
}

/// The folder for what quickstart makes: a new one, or one that nobody else could have filled
/// (SEC-98).
fn prepare(folder: &Path) -> Result<(), Failure> {
    let owners = Owners::own();
    let distrusted = |distrust: Distrust| {
        Failure::Failed(format!(
            "{distrust}, or start quickstart in a folder of your own"
        ))
    };
    trust(folder, &owners).map_err(distrusted)?;
    std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    for made in [
        CONFIG,
        account::USERS,
        account::PASSWORD,
        certificate::CA,
        certificate::CERT,
        certificate::KEY,
    ] {
        trust(&folder.join(made), &owners).map_err(distrusted)?;
    }
    Ok(())
}

/// A folder that is new, and that nobody else can open, where the usual one cannot be used.
fn elsewhere(why: &str) -> Result<PathBuf, Failure> {
    let folder = tempfile::Builder::new()
        .prefix("vestibule-quickstart-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .tempdir()
        .map_err(|error| cannot_write(&std::env::temp_dir(), &error))?
        .keep();
    eprintln!(
        "vestibule: {why}; this time its files are in {}",
        folder.display()
    );
    Ok(folder)
}

enum App<'a> {
    Own(&'a str),
    Sample(SampleApp),
}

/// The sample app on a thread and a runtime of its own, so that it is as far from the proxy as
/// any other app. Stops when dropped.
struct SampleApp {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl SampleApp {
    fn start() -> Result<Self, Failure> {
        Self::try_start()
            .map_err(|error| Failure::Failed(format!("cannot start the sample app: {error}")))
    }

    fn try_start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = thread::Builder::new()
            .name("sample-app".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    sample::serve(listener, stopped).await
                })
            })?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for SampleApp {
    fn drop(&mut self) {
        self.stop.cancel();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => eprintln!("vestibule: the sample app failed: {error}"),
            Some(Err(_)) => eprintln!("vestibule: the sample app panicked"),
            Some(Ok(Ok(()))) | None => {}
        }
    }
}

/// The same keys that every other configuration has; paths start from its own folder.
fn configuration(listen: SocketAddr, app: &App<'_>) -> String {
    let (note, login, upstream, session_data) = match app {
        App::Own(upstream) => ("", "", (*upstream).to_owned(), ""),
        App::Sample(sample) => (
            "# The sample app has another port each time, and runs only while quickstart does.\n",
            "title = \"the sample app\"\n",
            format!("http://{}", sample.address),
            "session_data = true\n",
        ),
    };
    let quoted = toml_edit::Value::from(upstream);
    format!(
        "# Written anew by each `vestibule quickstart`: copy it before you change it, then\n\
         # `vestibule serve --config FILE`. config.example.toml explains every key.\n\
         {note}\n\
         [server]\n\
         listen = [\"{listen}\"]\n\n\
         [tls]\n\
         cert = \"{cert}\"\n\
         key = \"{key}\"\n\n\
         [session]\n\
         path = \"sessions.redb\"\n\n\
         [login]\n\
         users_file = \"{users}\"\n\
         {login}\n\
         [admin]\n\
         socket = \"{SOCKET}\"\n\n\
         [[app]]\n\
         name = \"quickstart\"\n\
         upstream = {quoted}\n\
         {session_data}",
        cert = certificate::CERT,
        key = certificate::KEY,
        users = account::USERS,
    )
}

/// What to do now.
fn welcome(folder: &Path, address: SocketAddr, app: &App<'_>, password: &Password) -> String {
    let folder = folder.display();
    let app = match app {
        App::Own(upstream) => upstream,
        App::Sample(_) => "the built-in sample app",
    };
    let password = match password {
        Password::Kept(password) => password.clone(),
        Password::Changed => format!("as you set it in {folder}/{}", account::USERS),
    };
    let ca = format!("{folder}/{}", certificate::CA);
    format!(
        "\n\
         Vestibule is ready.\n\n\
         \x20 Open        https://{host}\n\
         \x20 User        {USER}\n\
         \x20 Password    {password}\n\
         \x20 Behind it   {app}\n\
         \x20 Settings    {folder}/{CONFIG}\n\n\
         The browser will warn, because it does not know the certificate yet. Go on\n\
         past the warning, or trust {ca}, good for this address only:\n\n\
         \x20 Linux       sudo cp {ca} \\\n\
         \x20               /usr/local/share/ca-certificates/vestibule.crt\n\
         \x20             sudo update-ca-certificates\n\
         \x20 macOS       security add-trusted-cert -r trustRoot -k \\\n\
         \x20               ~/Library/Keychains/login.keychain-db {ca}\n\
         \x20 Windows     certutil -user -addstore Root {ca}\n\
         \x20 Firefox, and Chrome on Linux: import it in the settings (Certificates,\n\
         \x20 Authorities)\n\n\
         List the sessions: vestibule session list --config {folder}/{CONFIG}\n\
         Ctrl+C stops it.\n\n",
        host = shown_host(address),
    )
}

/// `localhost` wherever it leads to `address`: the shortest name in the certificate.
fn shown_host(address: SocketAddr) -> String {
    let ip = address.ip();
    let local = ip.is_unspecified()
        || ip == IpAddr::V4(Ipv4Addr::LOCALHOST)
        || ip == IpAddr::V6(Ipv6Addr::LOCALHOST);
    if local {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}

/// Mode 0600 (SEC-79), and never half a file.
fn write_private(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    tempfile::NamedTempFile::new_in(folder)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.persist(path).map_err(|error| error.error)
        })
        .map(drop)
        .map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!(
        "cannot write {}: {error}; quickstart keeps its files below the current folder",
        path.display()
    ))
}

#[cfg(test)]
mod tests;
