use super::*;

const SCRIPT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A node with the management of the recipe, and the directory of nodes that it needs.
async fn node(recipe: &mut Page) -> (Program, real::App) {
    let (folder, management) = (tempfile::tempdir().unwrap(), held_port());
    let [directory, queues, distribution] = [(); 3].map(|()| held_port());
    let at = folder.path().display().to_string();
    let config = recipe.next("ini");
    let config = config.replace("15672", &management.port().to_string());
    let config =
        format!("{config}listeners.tcp.1 = {queues}\nlog.console = true\nlog.file = false\n");
    fs::write(folder.path().join("rabbitmq.conf"), config).unwrap();
    fs::write(folder.path().join("plugins"), "[rabbitmq_management].\n").unwrap();
    for name in ["db", "log"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let mut epmd = Command::new(real::find("epmd").unwrap());
    epmd.args([
        "-address",
        "127.0.0.1",
        "-port",
        &directory.port().to_string(),
    ]);
    let mut epmd = Program::spawn(epmd);
    epmd.wait_for_port(directory).await;
    let mut command = Command::new("sh");
    command
        .arg(SCRIPT)
        .env("HOME", &at)
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("RABBITMQ_CONFIG_FILE", format!("{at}/rabbitmq.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", format!("{at}/plugins"))
        .env("RABBITMQ_MNESIA_BASE", format!("{at}/db"))
        .env("RABBITMQ_LOG_BASE", format!("{at}/log"))
        .env("RABBITMQ_PID_FILE", format!("{at}/pid"))
        .env("RABBITMQ_NODENAME", "test@localhost")
        .env("RABBITMQ_DIST_PORT", distribution.port().to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", directory.port().to_string());
    (
        epmd,
        real::App::start_slowly(command, management, folder).await,
    )
}

/// Runs rabbitmqadmin by way of a gate; gives whether it did well, and what it says.
async fn admin(gate: &Gate, args: &str) -> (bool, String) {
    let mut command = Command::new(real::find("rabbitmqadmin").unwrap());
    command
        .args(["--ssl", "--ssl-ca-cert-file", &gate.certificate()])
        .args(["-H", "localhost", "-P", &gate.address().port().to_string()])
        .args(args.split(' '));
    let mut program = Program::spawn(command);
    let status = program.exit().await;
    let said = program.stdout_at_end().await + &program.stderr();
    (status.success(), said)
}

#[tokio::test]
async fn queues_of_rabbitmq_have_slashes_in_their_paths() {
    if ["epmd", "rabbitmqadmin"]
        .iter()
        .any(|name| real::find(name).is_none())
    {
        return;
    }
    if !std::path::Path::new(SCRIPT).is_file() {
        return real::missing(SCRIPT);
    }
    let mut recipe = Page::open("recipes/rabbitmq.md");
    let (_epmd, app) = node(&mut recipe).await;
    let url = app.url();
    let Some(desk) = Desk::of(app, &mut recipe).await else {
        return;
    };
    let browser = &desk.browser;
    desk.goto("/#/queues").await;
    desk.sign_in().await;
    browser
        .wait_until("document.querySelector('#login input[name=username]')")
        .await;
    browser.type_into("#login [name=username]", "guest").await;
    browser.type_into("#login [name=password]", "guest").await;
    browser.click("#login [type=submit]").await;
    desk.sees("Add a new queue").await;
    browser
        .script(
            "[...document.querySelectorAll('h2')]
                .find(heading => heading.textContent.includes('Add a new queue')).click()",
        )
        .await;
    browser
        .type_into("form[action='#/queues'] [name=name]", "a/b 50%")
        .await;
    browser.click("form[action='#/queues'] [type=submit]").await;
    desk.sees("a/b 50%").await;
    desk.sign_out_elsewhere().await;
    desk.goto("/?again#/queues/%2F/a%2Fb%2050%25").await;
    desk.sign_in().await;
    desk.sees("Queue a/b 50%").await;

    let (done, said) = admin(&desk.gate, "list queues").await;
    assert!(!done && said.contains("Access refused"), "{said}");
    let gate = Vestibule::before_url(&url)
        .app("allow_in_path = [\"encoded-slash\"]")
        .rule("/api", "everyone")
        .start()
        .await;
    let (done, said) = admin(&gate, "declare queue name=c/d").await;
    assert!(done, "{said}");
    let (done, said) = admin(&gate, "list queues name").await;
    assert!(
        done && said.contains("c/d") && said.contains("a/b 50%"),
        "{said}"
    );
    let (done, said) = admin(&gate, "-p wrong list queues").await;
    assert!(!done && said.contains("Access refused"), "{said}");
    gate.browser().get("/").await.assert_status(303);
}
