use super::*;

/// A printer that prints to nowhere. Its page asks for no password of the system.
async fn printer() -> Option<real::App> {
    let (cupsd, lpadmin) = (real::find("cupsd")?, real::find("lpadmin")?);
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let at = folder.path().display();
    let files = format!(
        "ServerRoot {at}/root\nRequestRoot {at}/spool\nCacheDir {at}/cache\nStateDir {at}/state\n\
         TempDir {at}/tmp\nAccessLog {at}/access\nErrorLog stderr\nPageLog {at}/page\n"
    );
    let config = format!(
        "Listen {address}\nWebInterface Yes\nBrowsing No\n<Location />\nOrder deny,allow\n\
         </Location>\n<Policy default>\n<Limit All>\nOrder deny,allow\n</Limit>\n</Policy>\n"
    );
    for name in ["root", "spool", "cache", "state", "tmp"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let mut command = Command::new(cupsd);
    for (option, name, text) in [("-s", "files.conf", files), ("-c", "cupsd.conf", config)] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        command.arg(option).arg(path);
    }
    command.arg("-f");
    let app = real::App::start(command, address, folder).await;
    let mut add = Command::new(lpadmin);
    add.args(["-h", &address.to_string(), "-p", "Office", "-E"]);
    add.args(["-v", "file:///dev/null", "-m", "raw"]);
    let (code, said, errors) = run_to_end(&mut add, "");
    assert_eq!(code, Some(0), "{said}{errors}");
    Some(app)
}

/// Asks for the printer by IPP, by way of a gate.
async fn ask(gate: &Gate) -> String {
    let mut command = Command::new(real::find("ipptool").unwrap());
    let printer = format!("ipps://localhost:{}/printers/Office", gate.address().port());
    command.args(["-tv", &printer, "get-printer-attributes.test"]);
    let mut program = Program::spawn(command);
    program.exit().await;
    program.stdout_at_end().await + &program.stderr()
}

#[tokio::test]
async fn a_printer_of_cups_is_paused_in_the_browser_and_asked_by_ipp_where_a_rule_lets_it() {
    if real::find("ipptool").is_none() {
        return;
    }
    let Some(app) = printer().await else {
        return;
    };
    let url = app.url();
    let refused = Vestibule::before_url(&url).public().start().await;
    refused.browser().get("/").await.assert_status(400);
    let mut recipe = Page::open("recipes/cups.md");
    let Some(desk) = Desk::of(app, &mut recipe).await else {
        return;
    };
    desk.goto("/printers/Office").await;
    desk.sign_in().await;
    desk.sees("Accepting Jobs").await;
    let pause = "form[name=maintenance] option[value=stop-printer]";
    desk.browser.click(pause).await;
    desk.sees("has been paused").await;
    desk.sign_out_elsewhere().await;
    desk.goto("/admin/?op=redirect&URL=/printers/Office").await;
    desk.sign_in().await;
    desk.sees("Paused").await;
    let page = format!("{}/printers/Office", desk.origin);
    assert_eq!(desk.browser.url().await, page);

    let said = ask(&desk.gate).await;
    assert!(said.contains("[FAIL]"), "{said}");
    let gate = Vestibule::before_url(&url)
        .app("preserve_host = false")
        .rule("/printers", "everyone")
        .start()
        .await;
    let said = ask(&gate).await;
    assert!(said.contains("successful-ok"), "{said}");
    gate.browser().get("/jobs/").await.assert_status(303);
}
