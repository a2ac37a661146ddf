//! Users, sessions and reloads, by the commands of the page.

use std::collections::BTreeSet;

use super::desk::Desk;
use super::page::{Page, quoted};
use crate::harness::*;

const HOST: &str = "app.example.org";

#[tokio::test]
async fn a_server_is_looked_after_by_the_commands_of_the_page() {
    let mut page = Page::open("operations.md");
    each_command_has_a_row(&page);
    each_key_that_needs_a_restart_has_a_row(&page).await;

    let (app, mut desk, address) = (Upstream::echo().await, Desk::new(HOST), held_port());
    let config = format!(
        "[server]\nlisten = [\"{address}\"]\n\n[admin]\nsocket = \"admin.sock\"\n\n\
         [tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\n\
         [[app]]\nhost = \"{HOST}\"\nupstream = \"{}\"\n",
        app.url()
    );
    desk.write("/etc/vestibule/config.toml", &config);
    let shown = desk.run(&page.next("sh")).await;
    assert!(shown.contains("ada@example.org"), "{shown}");
    desk.run("vestibule user add bob").await;
    let served = desk.serve(address).await;

    let mut browsers = Vec::new();
    for user in ["ada", "ada", "bob"] {
        browsers.push(served.browser(HOST).login(user, PASSWORD).await);
    }
    let listed = desk.run("vestibule session list --json --user ada").await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let fields = listed[0].as_object().unwrap().keys();
    let fields: BTreeSet<_> = fields.map(String::as_str).collect();
    page.assert_names(&fields);
    desk.place("3f9c2a17", &listed[0]["key"].as_str().unwrap()[..8]);
    desk.run(&page.next("sh")).await;
    for browser in browsers {
        browser.get("/").await.assert_status(303);
    }

    let shown = desk.run(&page.next("sh")).await;
    for part in ["connections  ", "certificate  ", "\"findings\""] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let reload = page.next("sh");
    assert_eq!(
        desk.run(&reload).await,
        "the configuration was read again\n"
    );
    desk.write(
        "/etc/vestibule/config.toml",
        &config.replace("host =", "hots ="),
    );
    assert_eq!(desk.try_run(&reload).await.0, Some(78));
    page.skip("sh", "the tests of the packages run it");
}

/// The commands of `--help` and those of the table are the same.
fn each_command_has_a_row(page: &Page) {
    let mut known = BTreeSet::new();
    for command in subcommands(&[]) {
        if ["app", "node", "session", "token", "user"].contains(&&*command) {
            let parts = subcommands(&[&command]);
            known.extend(
                parts
                    .iter()
                    .map(|part| format!("vestibule {command} {part}")),
            );
        } else {
            known.insert(format!("vestibule {command}"));
        }
    }
    let rows = page.rows("command");
    let listed: BTreeSet<_> = rows.iter().flat_map(|row| quoted(row[0])).collect();
    assert_eq!(listed, known.iter().map(String::as_str).collect());
}

fn subcommands(of: &[&str]) -> Vec<String> {
    let (_, help, _) = run_without_config(&[of, &["--help"]].concat());
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let list = list.split("\n\n").next().unwrap();
    let names = list
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// The keys of the table are those that a reload names when all of them have changed.
async fn each_key_that_needs_a_restart_has_a_row(page: &Page) {
    let rows = page.rows("key");
    let listed: BTreeSet<_> = rows.iter().flat_map(|row| quoted(row[0])).collect();
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app)
        .server(
            "redirect_http = [\"127.0.0.1:0\"]\nauth_listen = [\"127.0.0.1:0\"]\n\
             auth_from = [\"127.0.0.1\"]\n",
        )
        .admin("socket = \"admin.sock\"\nmetrics = \"127.0.0.1:0\"")
        .user("ada", PASSWORD)
        .start()
        .await;
    gate.files().write("others.toml", "", 0o600);
    let named = gate.reload(|text| {
        text.replace(
            "auth_listen = [\"127.0.0.1:0",
            "auth_listen = [\"127.0.0.1:4",
        )
        .replace("listen = [\"127.0.0.1:0", "listen = [\"127.0.0.1:1")
        .replace("http = [\"127.0.0.1:0", "http = [\"127.0.0.1:2")
        .replace("metrics = \"127.0.0.1:0", "metrics = \"127.0.0.1:3")
        .replace("[session]\n", "[session]\nstore = \"memory\"\n")
        .replace("users.toml", "others.toml")
        .replace(
            "admin.sock\"\n",
            "other.sock\"\nmetrics_hosts = [\"a.test\"]\n",
        ) + "[log]\nformat = \"text\"\naudit_file = \"audit.log\"\n"
    });
    let named = named.unwrap();
    let named: BTreeSet<_> = named.iter().flat_map(|key| key.split(" and ")).collect();
    assert_eq!(listed, named);
}
