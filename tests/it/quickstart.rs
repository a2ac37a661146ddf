//! `vestibule quickstart`, twice in one folder.

use std::net::SocketAddr;
use std::path::Path;

use crate::harness::*;

/// `vestibule quickstart` in an empty folder.
struct Quickstart {
    program: Program,
    address: SocketAddr,
    password: String,
}

async fn quickstart(folder: &Path, upstream: Option<&str>) -> Quickstart {
    let address = held_port();
    let mut command = command();
    command
        .current_dir(folder)
        .arg("quickstart")
        .args(upstream)
        .args(["--listen", &address.to_string()]);
    let mut program = Program::spawn(command);
    program.wait_for_port(address).await;
    eventually("the welcome", || program.stdout().contains("Ctrl+C")).await;
    let welcome = program.stdout();
    let value = |name: &str| {
        let line = welcome
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("{name} in {welcome}"))
            .split_whitespace()
            .last()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        value("Open"),
        format!("https://localhost:{}", address.port())
    );
    assert_eq!(value("User"), "admin");
    let password = value("Password");
    Quickstart {
        program,
        address,
        password,
    }
}

#[tokio::test]
async fn quickstart_keeps_its_password_and_takes_an_app() {
    let folder = tempfile::tempdir().unwrap();
    let app = Upstream::echo().await;
    let first = quickstart(folder.path(), Some(&app.url())).await;
    let browser = Browser::new(first.address, "localhost")
        .login("admin", &first.password)
        .await;
    browser.get("/x").await.assert_status(200);
    assert_eq!(app.last().value("x-forwarded-user"), Some("admin"));
    let mut list = command();
    list.current_dir(folder.path()).args(["session", "list"]);
    let (code, listed, errors) = run_to_end(list.args(["--config", "certs/quickstart.toml"]), "");
    assert_eq!((code, &*errors), (Some(0), ""));
    assert!(listed.contains("  admin  "), "{listed}");
    let mut program = first.program;
    program.signal(rustix::process::Signal::INT);
    assert_eq!(program.exit().await.code(), Some(0));

    let again = quickstart(folder.path(), Some(&app.url())).await;
    assert_eq!(again.password, first.password);
    Browser::new(again.address, "localhost")
        .login("admin", &again.password)
        .await;
    let other = quickstart(tempfile::tempdir().unwrap().path(), Some(&app.url())).await;
    assert_ne!(other.password, first.password, "a password for everybody");
    for entry in std::fs::read_dir(folder.path().join("certs")).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let secret = name.contains("key") || name.contains("users") || name.contains("password");
        assert!(!secret || mode == 0o600, "{name} has mode {mode:o}");
    }
}

#[tokio::test]
async fn where_no_admin_socket_can_be_quickstart_starts_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let in_the_way = folder.path().join("certs/admin.sock");
    std::fs::create_dir(folder.path().join("certs")).unwrap();
    std::fs::write(&in_the_way, "no socket").unwrap();
    let app = Upstream::echo().await;
    let started = quickstart(folder.path(), Some(&app.url())).await;
    let warning =
        "the commands `app`, `node`, `session`, `token`, `reload` and `status` will not work";
    let warned = || started.program.stdout().contains(warning);
    eventually("the warning", warned).await;
    assert_eq!(std::fs::read_to_string(in_the_way).unwrap(), "no socket");
}

#[tokio::test]
async fn sec_98_what_somebody_else_could_have_put_there_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    std::fs::write(certs.join("quickstart-users.toml"), "planted").unwrap();
    std::fs::set_permissions(&certs, PermissionsExt::from_mode(0o777)).unwrap();
    let app = Upstream::echo().await;
    let started = quickstart(folder.path(), Some(&app.url())).await;
    let browser = Browser::new(started.address, "localhost")
        .login("admin", &started.password)
        .await;
    browser.get("/x").await.assert_status(200);
    assert_eq!(std::fs::read_dir(&certs).unwrap().count(), 1);
    let welcome = started.program.stdout();
    let settings = welcome.lines().find(|line| line.contains("Settings"));
    let elsewhere = settings.unwrap().split_whitespace().last().unwrap();
    assert!(elsewhere.contains("vestibule-quickstart-"), "{welcome}");
    std::fs::remove_dir_all(Path::new(elsewhere).parent().unwrap()).unwrap();
}

#[tokio::test]
async fn quickstart_ends_with_its_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let mut quickstart = quickstart(folder.path(), None).await;
    quickstart.program.signal(rustix::process::Signal::HUP);
    assert!(quickstart.program.exit().await.success());
}
