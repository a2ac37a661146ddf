//! What systemd hands over and what it hears: sockets, credentials, readiness, watchdog.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Request;
use rustix::process::Signal;
use tokio::sync::Semaphore;

use crate::harness::*;

const WATCHDOG_USEC: u64 = 2_000_000;

#[tokio::test]
async fn the_manager_hears_when_it_is_ready_how_many_there_are_and_when_it_stops() {
    let open = Arc::new(Semaphore::new(0));
    let app = {
        let open = Arc::clone(&open);
        Upstream::scripted(move |exchange| {
            let open = Arc::clone(&open);
            Box::pin(async move {
                drop(open.acquire().await);
                echo(exchange).await;
            })
        })
        .await
    };
    let manager = Manager::new();
    let mut command = command();
    manager.manage(&mut command, 0);
    let vestibule = Vestibule::before(&app).user("ada", PASSWORD);
    let mut service = vestibule.spawn_by(command).await;
    manager.hears("READY=1").await;
    manager.hears("STATUS=0 connections, 0 sessions").await;
    let cookie = service
        .browser()
        .login("ada", PASSWORD)
        .await
        .session_cookie();
    let mut raw = service.raw().await;
    raw.send(format!(
        "GET / HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n"
    ))
    .await;
    manager.hears("STATUS=1 connection, 1 session").await;
    app.wait_for(1).await;

    service.reload(str::to_owned);
    let reloading = manager.hears("RELOADING=1").await;
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    manager.hears("READY=1").await;

    service.program.signal(Signal::TERM);
    let stopping = manager.hears("STOPPING=1").await;
    // The default drain_timeout of 30 s, and some time to write sessions down.
    assert!(
        stopping.contains("\nEXTEND_TIMEOUT_USEC=45000000"),
        "{stopping}"
    );
    manager.hears("STATUS=stopping: 1 connection left").await;
    open.add_permits(1);
    raw.response().await.assert_status(200);
    assert_eq!(service.program.exit().await.code(), Some(0));
}

#[tokio::test]
async fn rel_12_the_watchdog_hears_that_the_service_is_alive_and_no_log_does() {
    let app = Upstream::echo().await;
    let manager = Manager::new();
    let mut command = command();
    manager.manage(&mut command, WATCHDOG_USEC);
    let service = Vestibule::before(&app).spawn_by(command).await;
    for _ in 0..3 {
        manager.hears("WATCHDOG=1").await;
    }
    service.program.signal(Signal::STOP);
    manager.forget();
    tokio::time::sleep(Duration::from_micros(WATCHDOG_USEC)).await;
    manager.forget(); // whatever was said before the signal took hold
    service.program.signal(Signal::CONT);
    manager.hears("WATCHDOG=1").await;
    let log = service.program.log();
    let access = log.iter().filter(|line| line["target"] == "access");
    assert_eq!(access.count(), 0, "{log:?}");
    let wrong = log.iter().filter(|line| line["level"] == "ERROR");
    assert_eq!(wrong.count(), 0, "{log:?}");
}

#[tokio::test]
async fn rel_12_out_of_descriptors_or_connections_the_watchdog_goes_on() {
    let Some(prlimit) = real::find("prlimit") else {
        return;
    };
    for (descriptors, keys) in [("80", ""), ("1000", "max_connections = 20")] {
        let app = Upstream::echo().await;
        let manager = Manager::new();
        let mut command = Command::new(&prlimit);
        command.arg(format!("--nofile={descriptors}"));
        command.arg(env!("CARGO_BIN_EXE_vestibule"));
        manager.manage(&mut command, WATCHDOG_USEC);
        let vestibule = Vestibule::before(&app).public().server(keys);
        let service = vestibule.spawn_by(command).await;
        let mut held = Vec::new();
        for _ in 0..200 {
            held.push(service.tcp().await);
        }
        eventually("a line about it", || {
            let log = service.program.stdout();
            log.contains("cannot accept") || log.contains("too many connections")
        })
        .await;
        manager.forget();
        for _ in 0..3 {
            manager.hears("WATCHDOG=1").await;
        }
    }
}

#[tokio::test]
async fn rel_12_a_crowd_that_waits_for_the_start_takes_no_descriptor_of_the_watchdog() {
    let (Some(prlimit), Some(taskset)) = (real::find("prlimit"), real::find("taskset")) else {
        return;
    };
    let app = Upstream::echo().await;
    let (sockets, manager) = (Sockets::new(), Manager::new());
    let files = Vestibule::before(&app).public().write();
    let config = files.path("config.toml");
    let crowd: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(sockets.address()).unwrap())
        .collect();
    // On one processor, the crowd is accepted before the start goes on.
    let mut command = Command::new(&taskset);
    command.args(["--cpu-list", &a_processor()]).arg(&prlimit);
    command.args(["--nofile=60", env!("CARGO_BIN_EXE_vestibule")]);
    manager.manage(&mut command, WATCHDOG_USEC);
    let config = config.to_str().unwrap();
    let service = sockets.serve_by(command, config, &manager).await;
    eventually("a line about it", || {
        service.stdout().contains("cannot accept")
    })
    .await;
    manager.forget();
    for _ in 0..3 {
        manager.hears("WATCHDOG=1").await;
    }
    drop(crowd);
}

/// The number of one that this process may use.
fn a_processor() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.split_once("Cpus_allowed_list:").unwrap().1;
    let allowed = allowed.trim_start();
    let first = allowed.split(|c: char| !c.is_ascii_digit()).next();
    first.unwrap().to_owned()
}

/// Two sockets that outlive the service, as under systemd.
struct Sockets {
    tls: TcpListener,
    http: TcpListener,
}

impl Sockets {
    fn new() -> Self {
        let bind = || TcpListener::bind(held_port()).unwrap();
        Self {
            tls: bind(),
            http: bind(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.tls.local_addr().unwrap()
    }

    /// Starts the program on them, and waits until it is ready.
    async fn serve(&self, config: &str, manager: &Manager) -> Program {
        let mut program = command();
        manager.manage(&mut program, 0);
        self.serve_by(program, config, manager).await
    }

    async fn serve_by(&self, mut program: Command, config: &str, manager: &Manager) -> Program {
        program.args(["serve", "--config", config]);
        let sockets = [&self.tls, &self.http].map(|socket| socket.try_clone().unwrap().into());
        let program = Program::spawn_on(sockets, "vestibule.socket:http", &program);
        manager.hears("READY=1").await;
        program
    }
}

#[tokio::test]
async fn rel_02_a_restart_on_sockets_of_systemd_refuses_nobody_and_ends_no_session() {
    let app = Upstream::echo().await;
    let (sockets, manager) = (Sockets::new(), Manager::new());
    // Its own addresses are somebody else's: those of the sockets count.
    let taken = TcpListener::bind(held_port()).unwrap();
    let files = Vestibule::before(&app).user("ada", PASSWORD).write();
    let config = fs::read_to_string(files.path("config.toml")).unwrap();
    let config = config.replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string());
    let config = files.write("config.toml", &config, 0o644);
    let config = config.to_str().unwrap();
    let mut program = sockets.serve(config, &manager).await;

    let plain = real::http(sockets.http.local_addr().unwrap(), Request::get("/")).await;
    assert_eq!(plain.unwrap().0, 308);
    let ada = Browser::new(sockets.address(), tls::HOST)
        .login("ada", PASSWORD)
        .await;
    let enough = Arc::new(AtomicBool::new(false));
    let visitors: Vec<_> = (0..6)
        .map(|n| {
            let (ada, enough) = (ada.clone(), Arc::clone(&enough));
            let ada = if n % 2 == 0 { ada } else { ada.over_http2() };
            tokio::spawn(async move {
                let mut answered = 0;
                while !enough.load(Ordering::Relaxed) {
                    ada.get("/").await.assert_status(200);
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    for _ in 0..5 {
        let before = app.requests();
        eventually("visitors to come", || app.requests() > before + 20).await;
        program.signal(Signal::TERM);
        assert_eq!(program.exit().await.code(), Some(0));
        program = sockets.serve(config, &manager).await;
    }
    enough.store(true, Ordering::Relaxed);
    for visitor in visitors {
        assert!(visitor.await.expect("nobody is turned away") > 10);
    }
}

#[tokio::test]
async fn a_socket_that_is_one_connection_stops_the_start() {
    let app = Upstream::echo().await;
    let files = Vestibule::before(&app).public().write();
    let sockets = Sockets::new();
    let connection = TcpStream::connect(sockets.address()).unwrap();
    let mut program = command();
    let config = files.path("config.toml");
    program.args(["serve", "--config"]).arg(config);
    let handed = [connection.into(), sockets.http.into()];
    let mut program = Program::spawn_on(handed, "https:http", &program);
    assert_eq!(program.exit().await.code(), Some(78));
}

#[tokio::test]
async fn a_socket_for_a_later_version_is_named_in_the_log_and_not_served() {
    let app = Upstream::echo().await;
    let files = Vestibule::before(&app).public().write();
    let (sockets, manager) = (Sockets::new(), Manager::new());
    let metrics = UnixListener::bind(files.path("metrics")).unwrap();
    let mut program = command();
    let config = files.path("config.toml");
    program.args(["serve", "--config"]).arg(config);
    manager.manage(&mut program, 0);
    let handed = [metrics.into(), sockets.tls.try_clone().unwrap().into()];
    let program = Program::spawn_on(handed, "metrics:https", &program);
    manager.hears("READY=1").await;
    let browser = Browser::new(sockets.address(), tls::HOST);
    browser.get("/").await.assert_status(200);
    let named = |line: &serde_json::Value| line["name"] == "metrics" && line["level"] == "WARN";
    eventually("the warning", || program.log().iter().any(named)).await;
}

#[tokio::test]
async fn sec_95_proxies_ask_at_a_socket_that_systemd_hands_over() {
    let app = Upstream::echo().await;
    let files = Vestibule::before(&app).public().write();
    let (sockets, manager) = (Sockets::new(), Manager::new());
    let path = files.path("auth.sock");
    let auth = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
    let mut program = command();
    let config = files.path("config.toml");
    program.args(["serve", "--config"]).arg(config);
    manager.manage(&mut program, 0);
    let handed = [auth.into(), sockets.tls.try_clone().unwrap().into()];
    let _program = Program::spawn_on(handed, "auth:https", &program);
    manager.hears("READY=1").await;
    let mut raw = Raw::new(tokio::net::UnixStream::connect(&path).await.unwrap());
    raw.send(
        "GET /nginx HTTP/1.1\r\nHost: auth\r\nX-Original-Method: GET\r\nX-Original-URI: /a\r\n\
         X-Original-Host: gate.test\r\nX-Original-Proto: https\r\nX-Real-IP: 192.0.2.7\r\n\r\n",
    )
    .await;
    raw.response().await.assert_status(200);
}

/// Whoever can connect there can ask in the name of any visitor.
#[tokio::test]
async fn sec_95_a_socket_for_forward_auth_that_everybody_may_connect_to_stops_the_start() {
    let app = Upstream::echo().await;
    let files = Vestibule::before(&app).public().write();
    let said = files.path("said");
    let start = async |auth: UnixListener| {
        let mut program = command();
        let config = files.path("config.toml");
        program.args(["serve", "--config"]).arg(config);
        program.env("STDERR", &said);
        let handed = [auth.into(), Sockets::new().tls.into()];
        let mut program = Program::spawn_on(handed, "auth:https", &program);
        assert_eq!(program.exit().await.code(), Some(78));
        fs::read_to_string(&said).unwrap()
    };
    for mode in [0o666, 0o777, 0o662] {
        let path = files.path(&format!("auth-{mode:o}.sock"));
        let auth = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let said = start(auth).await;
        let place = format!("{} has mode {mode:04o}", path.display());
        assert!(said.contains(&place), "{said}");
        assert!(said.contains("SocketMode=0660"), "{said}");
    }
    let name = format!("vestibule-test-{}", std::process::id());
    let name = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    let said = start(UnixListener::bind_addr(&name).unwrap()).await;
    assert!(said.contains("ListenStream= with the path"), "{said}");
    assert!(said.contains("SocketMode=0660"), "{said}");
}

#[tokio::test]
async fn sockets_for_another_process_are_left_alone() {
    let app = Upstream::echo().await;
    let mut command = command();
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    let service = Vestibule::before(&app).public().spawn_by(command).await;
    service.browser().get("/").await.assert_status(200);
}

#[tokio::test]
async fn certificate_and_key_may_be_credentials_of_systemd_and_the_users_file_may_not() {
    let app = Upstream::echo().await;
    let credentials = tempfile::tempdir().unwrap();
    let given = |name: &str| credentials.path().join(name);
    let mut command = command();
    command.env("CREDENTIALS_DIRECTORY", credentials.path());
    let service = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .prepare(|files| {
            for name in ["cert.pem", "key.pem"] {
                fs::rename(files.path(name), given(name)).unwrap();
                let owner = fs::Permissions::from_mode(0o400);
                fs::set_permissions(given(name), owner).unwrap();
            }
            fs::write(given("users.toml"), "nobody is in here").unwrap();
        })
        .spawn_by(command)
        .await;
    let ada = service.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);

    let everybody = fs::Permissions::from_mode(0o444);
    fs::set_permissions(given("key.pem"), everybody).unwrap();
    let mut again = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    again.env("CREDENTIALS_DIRECTORY", credentials.path());
    again.args(["serve", "--config"]);
    let (code, _, said) = run_to_end(again.arg(service.files.path("config.toml")), "");
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("key.pem: others can read or change the key"),
        "{said}"
    );
}
