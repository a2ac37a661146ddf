//! Vestibule inside the test's own process, in front of an upstream.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::TcpStream;
use vestibule::StartError;
use vestibule::clock::Clock;
use vestibule::config::Config;

use super::browser::Browser;
use super::files::{Files, User};
use super::h2::{Http2, RawHttp2};
use super::program::{self, Program, held_port};
use super::raw::Raw;
use super::tls::{self, HOST};
use super::upstream::Upstream;

/// Where a test says what it wants: `Vestibule::before(&app).user("ada", PASSWORD).start()`.
pub(crate) struct Vestibule {
    files: Files,
    app: String,
    rules: String,
    server: String,
    session: String,
    login: String,
    admin: String,
    config: String,
}

/// The program as a process of its own, killed when dropped.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) files: Files,
    pub(crate) program: Program,
}

/// A running Vestibule; stops when dropped.
pub(crate) struct Gate {
    running: vestibule::Running,
    clock: Clock,
    files: Files,
    text: String,
}

impl Vestibule {
    /// One app without a host name, for this upstream.
    pub(crate) fn before(app: &Upstream) -> Self {
        Self::before_url(&app.url())
    }

    /// One app with this address as its upstream.
    pub(crate) fn before_url(url: &str) -> Self {
        Self::new(&format!("upstream = \"{url}\"\n"))
    }

    /// One app that is balanced over these upstreams.
    pub(crate) fn before_each(apps: &[&Upstream]) -> Self {
        let urls: Vec<_> = apps.iter().map(|app| app.url()).collect();
        Self::new(&format!("upstream = {urls:?}\n"))
    }

    fn new(upstream: &str) -> Self {
        Self::before_app(&format!("[[app]]\n{upstream}"))
    }

    /// The app of this whole section.
    pub(crate) fn before_app(section: &str) -> Self {
        Self {
            files: Files::new(),
            app: section.to_owned(),
            rules: String::new(),
            server: String::new(),
            session: String::new(),
            login: String::new(),
            admin: "socket = \"admin.sock\"\n".to_owned(),
            config: String::new(),
        }
    }

    pub(crate) fn user(self, name: &str, password: &str) -> Self {
        self.account(User::new(name, password))
    }

    pub(crate) fn account(mut self, user: User) -> Self {
        self.files.add_user(user);
        self
    }

    /// `allow` is `everyone`, `nobody`, `signed-in`, or a table as in `{ groups = ["admins"] }`.
    pub(crate) fn rule(mut self, path: &str, allow: &str) -> Self {
        let allow = if allow.starts_with('{') {
            allow.to_owned()
        } else {
            format!("\"{allow}\"")
        };
        writeln!(
            self.rules,
            "[[app.rule]]\npath = \"{path}\"\nallow = {allow}"
        )
        .unwrap();
        self
    }

    /// Everything is open to everyone.
    pub(crate) fn public(self) -> Self {
        self.rule("/", "everyone")
    }

    /// More keys of the app, tables like `[app.identity]` last.
    pub(crate) fn app(mut self, keys: &str) -> Self {
        self.app.push_str(keys);
        self.app.push('\n');
        self
    }

    /// More keys of `[server]`.
    pub(crate) fn server(mut self, keys: &str) -> Self {
        self.server.push_str(keys);
        self.server.push('\n');
        self
    }

    /// More keys of `[session]`.
    pub(crate) fn session(mut self, keys: &str) -> Self {
        self.session.push_str(keys);
        self.session.push('\n');
        self
    }

    /// More keys of `[login]`.
    pub(crate) fn login(mut self, keys: &str) -> Self {
        self.login.push_str(keys);
        self.login.push('\n');
        self
    }

    /// The keys of `[admin]`, in place of a socket in the folder of the gate.
    pub(crate) fn admin(mut self, keys: &str) -> Self {
        self.admin = format!("{keys}\n");
        self
    }

    /// Sections that are not there yet: `[server.timeouts]`, `[login.throttle]`, one more `[[app]]`.
    pub(crate) fn config(mut self, sections: &str) -> Self {
        self.config.push_str(sections);
        self.config.push('\n');
        self
    }

    /// Writes the configuration and starts the program itself.
    pub(crate) async fn spawn(self) -> Service {
        self.spawn_by(program::command()).await
    }

    /// The same by a command that ends with running the program, as `prlimit` does.
    pub(crate) async fn spawn_by(self, command: Command) -> Service {
        self.spawn_at(held_port(), command).await
    }

    /// The same at this address.
    pub(crate) async fn spawn_at(self, address: SocketAddr, mut command: Command) -> Service {
        let text = self.text(&address.to_string());
        let path = self.files.write("config.toml", &text, 0o644);
        command.args(["serve", "--config"]).arg(path);
        let mut program = Program::spawn(command);
        program.wait_for_port(address).await;
        if text.contains("\nsocket = \"admin.sock\"") {
            let socket = self.files.path("admin.sock");
            assert!(socket.exists(), "it is there before the port is open");
        }
        Service {
            address,
            files: self.files,
            program,
        }
    }

    /// Its files, with the configuration among them; for commands.
    pub(crate) fn write(self) -> Files {
        self.files
            .write("config.toml", &self.text("127.0.0.1:0"), 0o644);
        self.files
    }

    fn text(&self, listen: &str) -> String {
        let Self {
            app,
            rules,
            server,
            session,
            login,
            admin,
            config,
            ..
        } = self;
        format!(
            "[server]\nlisten = [\"{listen}\"]\n{server}\
             [tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\
             [session]\n{session}\
             [admin]\n{admin}\
             [login]\nusers_file = \"users.toml\"\n{login}\
             {app}{rules}{config}"
        )
    }

    pub(crate) async fn start(self) -> Gate {
        let started = Box::pin(self.try_start()).await;
        started.unwrap_or_else(|error| panic!("it does not start: {error}"))
    }

    pub(crate) async fn try_start(self) -> Result<Gate, StartError> {
        let text = self.text("127.0.0.1:0");
        let config = Config::parse(&text, &self.files.path("config.toml"))
            .unwrap_or_else(|error| panic!("{error}\nin this configuration:\n{text}"));
        self.files.write("config.toml", &text, 0o644); // for commands
        let clock = Clock::system();
        let running = vestibule::start(config, clock.clone()).await?;
        Ok(Gate {
            running,
            clock,
            files: self.files,
            text,
        })
    }

    /// Of one of its files, before the start.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.files.path(name)
    }

    /// Changes its files before the start.
    pub(crate) fn prepare(self, change: impl FnOnce(&Files)) -> Self {
        change(&self.files);
        self
    }
}

impl Gate {
    pub(crate) fn address(&self) -> SocketAddr {
        self.running.addresses()[0]
    }

    pub(crate) fn redirect_address(&self) -> SocketAddr {
        self.running.redirect_addresses()[0]
    }

    /// Where proxies ask by forward auth.
    pub(crate) fn auth_address(&self) -> SocketAddr {
        self.running.auth_addresses()[0]
    }

    /// Where metrics and health are told.
    pub(crate) fn metrics_address(&self) -> SocketAddr {
        self.try_metrics_address().expect("metrics")
    }

    pub(crate) fn try_metrics_address(&self) -> Option<SocketAddr> {
        self.running.metrics_address()
    }

    /// Lets this much time pass for sessions and throttles.
    pub(crate) fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// The users file and the certificate.
    pub(crate) fn files(&mut self) -> &mut Files {
        &mut self.files
    }

    /// Where its certificate is, for clients that trust it.
    pub(crate) fn certificate(&self) -> String {
        self.files.path("cert.pem").display().to_string()
    }

    /// A fresh browser.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.address(), HOST)
    }

    /// A browser that asks for another host.
    pub(crate) fn browser_for(&self, host: &str) -> Browser {
        Browser::new(self.address(), host)
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A TLS connection for exact bytes of HTTP/1.1.
    pub(crate) async fn raw(&self) -> Raw {
        let stream = tls::connect(self.tcp().await, HOST, &["http/1.1"]).await;
        Raw::new(stream.unwrap())
    }

    /// A TLS connection for frames of HTTP/2.
    pub(crate) async fn raw_http2(&self) -> RawHttp2 {
        let stream = tls::connect(self.tcp().await, HOST, &["h2"]).await;
        RawHttp2::start(stream.unwrap()).await
    }

    /// A well-behaved HTTP/2 connection.
    pub(crate) async fn http2(&self) -> Http2 {
        let stream = tls::connect(self.tcp().await, HOST, &["h2"]).await;
        Http2::new(stream.unwrap()).await
    }

    /// Sends exact bytes on a fresh connection, and gives all that comes until it is closed.
    pub(crate) async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut raw = self.raw().await;
        let shown = String::from_utf8_lossy(bytes.as_ref());
        let shown: String = shown.chars().take(300).collect();
        raw.send(bytes).await;
        raw.rest_after(&shown).await
    }

    /// Changes the configuration, and has it read again; gives the keys that need a restart.
    pub(crate) fn reload(
        &mut self,
        change: impl FnOnce(&str) -> String,
    ) -> Result<Vec<&'static str>, StartError> {
        self.text = change(&self.text);
        let config = Config::parse(&self.text, &self.files.path("config.toml"));
        let config = config.unwrap_or_else(|error| panic!("{error}\nin:\n{}", self.text));
        self.running.reload(config)
    }

    /// Stops, and starts anew with the same files and the same time.
    pub(crate) async fn restart(self) -> Self {
        let clock = Clock::system();
        clock.advance(self.clock.now().since(clock.now()));
        self.restart_at(clock).await
    }

    /// The same with the time of the system, however far tests have moved the clock before.
    pub(crate) async fn restart_by_the_system_clock(self) -> Self {
        self.restart_at(Clock::system()).await
    }

    async fn restart_at(self, clock: Clock) -> Self {
        let Self {
            running,
            files,
            text,
            ..
        } = self;
        running.stop().await;
        let config = Config::parse(&text, &files.path("config.toml")).unwrap();
        let running = vestibule::start(config, clock.clone()).await.unwrap();
        Self {
            running,
            clock,
            files,
            text,
        }
    }

    /// Stops as the program does: drains, then returns.
    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }
}

impl Service {
    /// Changes the configuration file and says so to the program, as `systemctl reload` does.
    pub(crate) fn reload(&self, change: impl FnOnce(&str) -> String) {
        let text = fs::read_to_string(self.files.path("config.toml")).unwrap();
        self.files.write("config.toml", &change(&text), 0o644);
        self.program.signal(Signal::HUP);
    }

    /// Kills the program, as a crash does, and starts it anew with the same files.
    pub(crate) async fn crash(mut self) -> Self {
        self.program.signal(Signal::KILL);
        self.program.exit().await;
        self.start_again().await
    }

    /// Starts the program anew when it has ended.
    pub(crate) async fn start_again(self) -> Self {
        self.start_again_by(program::command()).await
    }

    /// The same by a command that ends with running the program.
    pub(crate) async fn start_again_by(self, mut command: Command) -> Self {
        let config = self.files.path("config.toml");
        command.args(["serve", "--config"]).arg(config);
        let mut program = Program::spawn(command);
        program.wait_for_port(self.address).await;
        Self { program, ..self }
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.address, HOST)
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) async fn raw(&self) -> Raw {
        self.raw_for(HOST).await
    }

    /// The same at another host.
    pub(crate) async fn raw_for(&self, host: &str) -> Raw {
        let stream = tls::connect(self.tcp().await, host, &["http/1.1"]).await;
        Raw::new(stream.unwrap())
    }

    /// A well-behaved HTTP/2 connection.
    pub(crate) async fn http2(&self) -> Http2 {
        let stream = tls::connect(self.tcp().await, HOST, &["h2"]).await;
        Http2::new(stream.unwrap()).await
    }
}
