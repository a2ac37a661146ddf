//! What `check` finds before a start, and `status` in a running server, each with its fix.

mod files;
mod first_page;
mod key_files;
mod live;
mod upstreams;

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tls::Certificate;

use crate::harness::*;

/// What `check` says of these files, with paths that start from their folder.
struct Checked {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Checked {
    fn of(files: &Files) -> Self {
        let config = files.path("config.toml");
        Self::by(files, command().args(["check", "--config"]).arg(config))
    }

    /// The same by a command of one's own.
    fn by(files: &Files, command: &mut Command) -> Self {
        let (code, stdout, stderr) = run_to_end(command, "");
        let folder = files.path("");
        let folder = folder.to_str().unwrap();
        Self {
            code,
            stdout: stdout.replace(folder, ""),
            stderr: stderr.replace(folder, ""),
        }
    }

    /// These words stand there, and no finding but as many as there are words.
    fn says(&self, findings: &[&str]) {
        let Self { stdout, .. } = self;
        for finding in findings {
            assert!(stdout.contains(finding), "{finding:?} is not in:\n{stdout}");
        }
        let count = stdout.matches("\n      help: ").count();
        assert_eq!(count, findings.len(), "{stdout}");
    }

    fn is_ok(&self, findings: &[&str]) {
        self.says(findings);
        let ended = (self.code, self.stderr.as_str());
        assert_eq!(ended, (Some(0), ""), "{}", self.stdout);
        let verdict = self.stdout.lines().last().unwrap();
        assert!(verdict.starts_with("config.toml: ok"), "{verdict}");
    }

    fn is_refused(&self, findings: &[&str]) {
        self.says(findings);
        assert_eq!(self.code, Some(78), "{}", self.stdout);
        let said = self.stderr.as_str();
        assert!(said.starts_with("vestibule: config.toml: "), "{said}");
        assert!(said.contains(" error"), "{said}");
    }
}

/// A gate in front of this, with which nothing is wrong.
fn before(app: &Upstream) -> Vestibule {
    Vestibule::before(app)
        .app("name = \"wiki\"\nhost = \"gate.test\"")
        .user("ada", PASSWORD)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_well_is_told_in_facts() {
    let app = Upstream::echo().await;
    let files = before(&app).write();
    let checked = Checked::of(&files);
    checked.is_ok(&[]);
    for fact in [
        "address      127.0.0.1:0 (server.listen)\n",
        "certificate  cert.pem: for gate.test, other.test, localhost, 127.0.0.1; until 4096-01-01 (",
        "days); self-signed: browsers warn until somebody tells them to trust it\n",
        "users        users.toml: 1 user\n",
        &format!("\napp wiki: gate.test -> {}\n", app.url()),
        "\nconfig.toml: ok\n",
    ] {
        assert!(
            checked.stdout.contains(fact),
            "{fact:?}: {}",
            checked.stdout
        );
    }
    let (code, stdout, _) = run(&files, &["check", "--json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["ok"]), (Some(0), &true.into()));
    assert_eq!(report["findings"], Value::Array(vec![]));
    assert_eq!(report["addresses"][0]["state"], "free");
    assert_eq!(
        (&report["users"], &report["apps"][0]["name"]),
        (&1.into(), &"wiki".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rel_16_a_certificate_is_judged_by_its_end_and_its_names() {
    let app = Upstream::echo().await;
    let files = before(&app).write();
    files.set_certificate(&Certificate::ending_in(Duration::from_hours(5 * 24 + 1)));
    Checked::of(&files).is_ok(&["config.toml:3: warning: cert.pem: it ends on "]);
    assert!(
        Checked::of(&files)
            .stdout
            .contains(", in 5 days\n      help: renew it: new files")
    );

    files.set_certificate(&Certificate::ended());
    Checked::of(&files).is_refused(&["config.toml:3: error: cert.pem: it has ended on "]);

    files.set_certificate(&Certificate::generate(&["elsewhere.test"]));
    Checked::of(&files).is_ok(&[
        "config.toml:11: warning: app wiki: no certificate is for gate.test: browsers warn of another \
         name\n      help: have one made for this name and add it as [[tls.extra]]; there are some for \
         elsewhere.test\n",
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_that_does_not_fit_or_cannot_be_read_is_refused() {
    let app = Upstream::echo().await;
    let files = before(&app)
        .config("[[tls.extra]]\ncert = \"no-cert.pem\"\nkey = \"no-key.pem\"")
        .write();
    files.write(
        "key.pem",
        &Certificate::generate(&["gate.test"]).key_pem,
        0o600,
    );
    let checked = Checked::of(&files);
    checked.is_refused(&[
        "config.toml:3: error: key.pem: this is not the key of cert.pem\n      help: name the key that \
         the certificate was made with; a renewal may have changed both\n",
        "config.toml:15: error: no-cert.pem: there is no such file\n      help: put it there, or name \
         another file in `cert` and `key`\n",
        "config.toml:15: error: no-key.pem: there is no such file\n",
    ]);
    assert_eq!(checked.stderr, "vestibule: config.toml: 3 errors\n");
    let (code, stdout, _) = run(&files, &["check", "--json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["ok"]), (Some(78), &false.into()));
    assert_eq!(
        report["findings"].as_array().map(Vec::len),
        Some(3),
        "{report:#}"
    );
    let (code, _, _) = run(&files, &["serve"]);
    assert_eq!(code, Some(78), "and so it does not start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_damaged_inside_is_told_by_every_command() {
    let app = Upstream::echo().await;
    let files = before(&app).write();
    let damaged = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    files.write("cert.pem", damaged, 0o644);
    Checked::of(&files)
        .is_refused(&["config.toml:3: error: cert.pem: its first certificate cannot be read: "]);
    let (code, _, said) = run(&files, &["serve"]);
    assert_eq!(code, Some(78), "{said}");
    let cert = files.path("cert.pem");
    let start = format!(
        "vestibule: {}: its first certificate cannot be read: ",
        cert.display()
    );
    assert!(said.starts_with(&start), "{said}");
    assert!(!said.contains("key.pem"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_somebody_has_is_told_with_their_name() {
    let app = Upstream::echo().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let free = held_port();
    let files = before(&app)
        .server(&format!("redirect_http = [\"{address}\"]"))
        .admin(&format!("socket = \"admin.sock\"\nmetrics = \"{free}\""))
        .write();
    let checked = Checked::of(&files);
    let id = std::process::id();
    let in_use = format!("config.toml:3: error: server.redirect_http: {address} is in use by ");
    checked.is_refused(&[&in_use]);
    let fix = format!("(process {id})\n      help: stop that program, or choose another address\n");
    assert!(checked.stdout.contains(&fix), "{}", checked.stdout);
    let metrics = format!("address      {free} (admin.metrics)\n");
    assert!(checked.stdout.contains(&metrics), "{}", checked.stdout);
    drop(taken);
    Checked::of(&files).is_ok(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_that_exclude_each_other_are_found_before_the_start() {
    let app = Upstream::echo().await;
    let port = held_port().port();
    let files = before(&app)
        .server(&format!(
            "redirect_http = [\"[::]:{port}\", \"0.0.0.0:{port}\"]"
        ))
        .write();
    Checked::of(&files).is_refused(&[&format!(
        "config.toml:3: error: server.redirect_http: 0.0.0.0:{port} is taken by [::]:{port} of \
         server.redirect_http already\n      help: leave out the narrower one: [::] takes IPv4 and \
         IPv6, 0.0.0.0 all of IPv4\n"
    )]);
    let (code, _, said) = run(&files, &["serve"]);
    assert_eq!(code, Some(1), "and so it does not start: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_nobody_can_meet_are_warned_of() {
    let app = Upstream::echo().await;
    let files = before(&app)
        .rule("/admin", "{ groups = [\"admins\"] }")
        .rule("/reports;all", "everyone")
        .rule("/mine", "{ users = [\"adam\"] }")
        .write();
    Checked::of(&files).is_ok(&[
        "config.toml:15: warning: app wiki, rule /admin: no user is in the group \"admins\": it lets \
         nobody in\n      help: add \"admins\" to the `groups` of somebody in the users file, or correct \
         the rule\n",
        "config.toml:18: warning: app wiki, rule /reports;all: it opens nothing by itself: a path with `;` \
         is judged without it, too\n      help: write the path without it, as in \"/reports\"\n",
        "config.toml:21: warning: app wiki, rule /mine: there is no user \"adam\": it lets nobody in\n      \
         help: did you mean \"ada\"?\n",
    ]);
    let (code, stdout, _) = run(&files, &["check", "--json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["ok"]), (Some(0), &true.into()));
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["severity"], &finding["line"]),
        (&"warning".into(), &15.into())
    );
    assert_eq!(finding["subject"], "app wiki, rule /admin");
    for words in ["message", "help"] {
        assert!(
            finding[words]
                .as_str()
                .is_some_and(|words| !words.is_empty()),
            "{finding}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_31_the_rule_that_is_said_to_open_nothing_opens_nothing() {
    let app = Upstream::echo().await;
    let gate = before(&app)
        .rule("/reports;all", "everyone")
        .rule("/lists%3Ball", "everyone")
        .start()
        .await;
    for path in [
        "/reports;all",
        "/reports;all/x",
        "/lists%3Ball",
        "/lists%3ball/x",
    ] {
        gate.browser().get(path).await.assert_status(303);
        gate.browser().fetch(path).await.assert_status(401);
    }
    assert_eq!(app.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_for_every_host_is_offered_the_names_of_the_certificate() {
    let app = Upstream::echo().await;
    let files = Vestibule::before(&app).user("ada", PASSWORD).write();
    Checked::of(&files).is_ok(&[
        ": warning: app app: it has no `host`: whatever name a client says is passed to it in \
         X-Forwarded-Host, and taken for the name of this site\n      help: write host = \
         \"gate.test\", or another of the names in the certificates: gate.test, other.test, localhost",
    ]);
    Checked::of(&before(&app).write()).is_ok(&[]);
}
