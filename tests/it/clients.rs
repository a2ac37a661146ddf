//! Programs without a session end with words that say so, and not with a mistake of their own.

use std::process::Command;

use crate::harness::*;

/// Opens an address with whatever `urllib` has for passwords, as Mercurial does.
const URLLIB: &str = "
import ssl, sys, urllib.error, urllib.request as u
url, ca = sys.argv[1:]
passwords = u.HTTPPasswordMgrWithDefaultRealm()
passwords.add_password(None, url, 'ada', 'secret')
for known in passwords, u.HTTPPasswordMgr():
    handlers = u.HTTPBasicAuthHandler(known), u.HTTPDigestAuthHandler(known)
    https = u.HTTPSHandler(context=ssl.create_default_context(cafile=ca))
    try:
        u.build_opener(https, *handlers).open(url)
    except urllib.error.HTTPError as error:
        print(error.code, error.read().decode())
";

const REQUESTS: &str = "
import sys
try:
    import requests, requests.auth as a
except ImportError:
    print('no requests')
    sys.exit()
url, ca = sys.argv[1:]
for auth in None, ('ada', 'secret'), a.HTTPDigestAuth('ada', 'secret'):
    answer = requests.get(url, verify=ca, auth=auth)
    print(answer.status_code, answer.json()['message'])
";

const ENDED: &str = "Your session has ended. Sign in again in another tab";

/// Runs a program to its end; gives what it says, and whether it did well.
async fn say(gate: &Gate, program: &str, args: &[&str]) -> Option<(bool, String)> {
    let path = real::find(program)?;
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(path);
    command
        .args(args)
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("GIT_ASKPASS", "echo")
        .env("GIT_SSL_CAINFO", gate.certificate())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HGRCPATH", "")
        .env_remove("GIT_DIR");
    let mut program = Program::spawn(command);
    let status = program.exit().await;
    let said = program.stdout_at_end().await + &program.stderr();
    Some((status.success(), said))
}

async fn gate() -> (Gate, Upstream) {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    (gate, app)
}

fn url(gate: &Gate, path: &str) -> String {
    format!("https://localhost:{}/{path}", gate.address().port())
}

#[tokio::test]
async fn python_survives_the_challenge() {
    let (gate, app) = gate().await;
    let ca = gate.certificate();
    for (script, answers) in [(URLLIB, 2), (REQUESTS, 3)] {
        let args = ["-c", script, &url(&gate, "x"), &ca];
        let Some((done, said)) = say(&gate, "python3", &args).await else {
            return;
        };
        assert!(done, "{said}");
        if said.starts_with("no requests") {
            real::missing("requests, a package of Python,");
            continue;
        }
        assert_eq!(said.matches("401 ").count(), answers, "{said}");
        assert_eq!(said.matches(ENDED).count(), answers, "{said}");
    }
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn curl_git_subversion_mercurial_and_npm_say_that_a_login_is_needed() {
    let (gate, app) = gate().await;
    let ca = gate.certificate();
    let svn_ca = format!("servers:global:ssl-authority-files={ca}");
    let hg_ca = format!("web.cacerts={ca}");
    let there = url(&gate, "there");
    let programs: [(&str, &[&str], &str); 7] = [
        (
            "curl",
            &[
                "-sS",
                "--noproxy",
                "*",
                "--cacert",
                &ca,
                "--anyauth",
                "-uada:x",
                &there,
            ],
            ENDED,
        ),
        ("git", &["ls-remote", &there], "Sign in with a web browser"),
        // Both show the realm where they may ask for a password, and nothing of the answer where
        // they may not: then their own words are all there is to see.
        (
            "setsid", // away from any terminal, where it would ask
            &[
                "--wait",
                "svn",
                "ls",
                "--force-interactive",
                "--config-option",
                &svn_ca,
                &there,
            ],
            "Sign in with a web browser",
        ),
        (
            "svn",
            &[
                "ls",
                "--non-interactive",
                "--config-option",
                &svn_ca,
                &there,
            ],
            "Authentication failed",
        ),
        (
            "hg",
            &[
                "id",
                "--config",
                &hg_ca,
                "--config",
                "ui.interactive=true",
                &there,
            ],
            "Sign in with a web browser",
        ),
        (
            "hg",
            &[
                "id",
                "--config",
                &hg_ca,
                "--config",
                "ui.interactive=false",
                &there,
            ],
            "http authorization required",
        ),
        (
            "npm",
            &[
                "view",
                "x",
                "--strict-ssl=false",
                "--fetch-retries=0",
                "--registry",
                &there,
            ],
            "Sign in with a web browser",
        ),
    ];
    for (program, args, expected) in programs {
        if program == "setsid" && real::find("svn").is_none() {
            continue;
        }
        if let Some((_, said)) = say(&gate, program, args).await {
            assert!(said.contains(expected), "{program}: {said}");
        }
    }
    assert_eq!(app.requests(), 0);
}
