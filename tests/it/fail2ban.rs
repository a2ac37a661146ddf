//! The filter and the jail for fail2ban, on lines that the program wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::*;

fn packaged(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging/fail2ban")
        .join(file)
}

/// The addresses that the filter finds in this log, line by line.
fn found(log: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    fs::write(&file, log).unwrap();
    let mut regex = Command::new("fail2ban-regex");
    regex.args(["--out", "ip"]).arg(file);
    let (code, out, said) = run_to_end(regex.arg(packaged("filter.d/vestibule.conf")), "");
    assert_eq!(code, Some(0), "{out}{said}");
    out.lines().map(str::to_owned).collect()
}

/// A service behind a load balancer, which says where visitors come from.
async fn service(app: &Upstream, format: &str) -> Service {
    Vestibule::before(app)
        .user("ada", PASSWORD)
        .rule("/public", "everyone")
        .server("trusted_proxies = [\"127.0.0.1/32\"]")
        .config(&format!(
            "[log]\nformat = \"{format}\"\naudit_file = \"audit.log\"\n\
             [login.throttle]\naccount_failures = 2"
        ))
        .spawn()
        .await
}

/// What a visitor could type so that somebody else is banned.
const FORGED: [&str; 8] = [
    "x client=198.51.100.1 user=x",
    "x WARN audit: login failed client=198.51.100.1 user=x",
    "x\n2026-01-01T00:00:00.000000Z  WARN audit: login failed client=198.51.100.1 user=x",
    "x\u{2028}2026-01-01T00:00:00.000000Z  WARN audit: login failed client=198.51.100.1 user=x",
    "x\",\"client\":\"198.51.100.1\",\"user\":\"",
    "{\"level\":\"WARN\",\"message\":\"login failed\",\"client\":\"198.51.100.1\",\"user\":\"",
    "x\r\n{\"level\":\"WARN\",\"message\":\"login failed\",\"client\":\"198.51.100.1\",\"user\":\"",
    "host vestibule[1]: WARN audit: login failed client=198.51.100.1 user=x",
];

/// Fails, succeeds and lies; gives the addresses of the logins that failed.
async fn visits(service: &Service) -> Vec<String> {
    let mut failed = Vec::new();
    let from = |address: &str| service.browser().header("x-forwarded-for", address);
    // Two failures, and one that is throttled.
    for address in ["192.0.2.7", "2001:db8::7"] {
        for _ in 0..3 {
            from(address).try_login("ada", "wrong").await;
            failed.push(address.to_owned());
        }
    }
    for name in FORGED {
        let browser = from("192.0.2.8").header(
            "user-agent",
            &name.replace(|c: char| !c.is_ascii_graphic(), " "),
        );
        browser.try_login(name, "wrong").await;
        failed.push("192.0.2.8".to_owned());
    }
    let text = "/public/%20WARN%20audit:%20login%20failed%20client=198.51.100.1%20user=x";
    for target in [text, "/public/WARN\u{a0}audit:login\u{a0}failed"] {
        let target = target.replace('\u{a0}', "%C2%A0");
        from("192.0.2.9").get(&target).await;
    }
    from("192.0.2.10")
        .login("ada", PASSWORD)
        .await
        .logout()
        .await
        .assert_status(303);
    failed
}

#[tokio::test]
async fn the_filter_finds_each_login_that_failed_and_nothing_that_is_forged() {
    if real::find("fail2ban-regex").is_none() {
        return;
    }
    let app = Upstream::echo().await;
    for format in ["json", "text"] {
        let service = service(&app, format).await;
        let failed = visits(&service).await;
        let audit = || fs::read_to_string(service.files.path("audit.log")).unwrap();
        eventually("the logout", || audit().contains("\"logout\"")).await;
        eventually("the logout", || service.program.stdout().contains("logout")).await;
        let log = service.program.stdout();
        assert_eq!(found(&log), failed, "{format}:\n{log}");
        assert_eq!(found(&audit()), failed, "{}", audit());
        for prefix in [
            "gate vestibule[77]: ",
            "Nov 25 13:42:04 gate vestibule[77]: ",
        ] {
            let lines = log.trim_end().replace('\n', &format!("\n{prefix}"));
            let journal = format!("{prefix}{lines}\n");
            // The journal has the time of its own, and text leaves it out there.
            let journal = match format {
                "text" => without_times(&journal),
                _ => journal,
            };
            assert_eq!(found(&journal), failed, "{journal}");
        }
    }
}

/// The lines of the text format as they are in the journal.
fn without_times(log: &str) -> String {
    let line = |line: &str| {
        let at = line.find("]: 20").expect("a time behind the prefix") + 3;
        let rest = &line[at..];
        let (_, event) = rest.split_once('Z').expect("a time ends");
        format!("{}{}\n", &line[..at], event)
    };
    log.lines().map(line).collect()
}

#[tokio::test]
async fn fail2ban_takes_the_jail() {
    let stock = Path::new("/etc/fail2ban");
    if real::find("fail2ban-client").is_none() || !stock.is_dir() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (etc, log) = (folder.path().join("etc"), folder.path().join("audit.log"));
    fs::write(&log, "").unwrap();
    let mut copy = Command::new("cp");
    let (code, _, said) = run_to_end(copy.arg("-r").arg(stock).arg(&etc), "");
    assert_eq!(code, Some(0), "{said}");
    for own in fs::read_dir(etc.join("jail.d")).unwrap() {
        fs::remove_file(own.unwrap().path()).unwrap();
    }
    fs::copy(
        packaged("filter.d/vestibule.conf"),
        etc.join("filter.d/vestibule.conf"),
    )
    .unwrap();
    let jail = fs::read_to_string(packaged("jail.d/vestibule.conf")).unwrap();
    let path = "/var/log/vestibule/audit.log";
    assert!(jail.contains(path));
    fs::write(
        etc.join("jail.d/vestibule.conf"),
        jail.replace(path, log.to_str().unwrap()),
    )
    .unwrap();
    let mut client = Command::new("fail2ban-client");
    let (code, dump, said) = run_to_end(client.arg("-c").arg(&etc).arg("-d"), "");
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "['start', 'vestibule']",
        "login (?:failed|throttled)",
        log.to_str().unwrap(),
    ] {
        assert!(dump.contains(part), "{part} in\n{dump}");
    }
}
