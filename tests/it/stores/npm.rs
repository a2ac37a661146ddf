use super::*;

/// Runs npm in a folder below this one, which has its settings; gives whether it did well, and
/// what it says.
async fn npm(home: &std::path::Path, folder: &str, args: &str) -> (bool, String) {
    let mut command = Command::new(real::find("npm").unwrap());
    command
        .args(args.split(' '))
        .env("HOME", home)
        .env("npm_config_update_notifier", "false")
        .current_dir(home.join(folder));
    let mut program = Program::spawn(command);
    some_within(4 * PATIENCE, "the end of npm", async || {
        (!program.is_running()).then_some(())
    })
    .await;
    let status = program.exit().await;
    let said = program.stdout_at_end().await + &program.stderr();
    (status.success(), said)
}

#[tokio::test]
async fn packages_with_a_scope_are_published_and_installed() {
    let (Some(verdaccio), Some(_)) = (real::find("verdaccio"), real::find("npm")) else {
        return;
    };
    let mut recipe = Page::open("recipes/npm.md");
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let config = recipe.next("yaml");
    let config = config.replace("127.0.0.1:4873", &address.to_string());
    let config = format!(
        "{config}storage: ./storage\nauth:\n  htpasswd:\n    file: ./htpasswd\n\
         log: {{type: stdout, format: json, level: warn}}\n"
    );
    let file = folder.path().join("config.yaml");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(verdaccio);
    command.env("HOME", folder.path()).arg("--config").arg(file);
    let app = real::App::start_slowly(command, address, folder).await;
    let gate = recipe.gate(&app.url()).start().await;
    let kind = [("content-type", "application/json")];
    let account = Bytes::from(r#"{"name":"ada","password":"of the registry"}"#);
    let made = gate
        .browser()
        .request(Method::PUT, "/-/user/org.couchdb.user:ada", &kind, account)
        .await;
    let token = made.assert_status(201).json()["token"].clone();

    let home = tempfile::tempdir().unwrap();
    let host = format!("localhost:{}", gate.address().port());
    let settings = format!("registry=https://{host}/\ncafile={}\n", gate.certificate());
    let write = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(".npmrc", &settings);
    write(
        "tool/package.json",
        r#"{"name": "@example/tool", "version": "1.0.0"}"#,
    );
    write("use/package.json", "{}");
    let (done, said) = npm(home.path(), "tool", "publish").await;
    assert!(!done && said.contains("ENEEDAUTH"), "{said}");
    let token = token.as_str().unwrap();
    write(
        ".npmrc",
        &format!("{settings}//{host}/:_authToken={token}\n"),
    );
    let (done, said) = npm(home.path(), "tool", "publish").await;
    assert!(done, "{said}");
    let (done, said) = npm(home.path(), "use", "view @example/tool dist.tarball").await;
    let address = format!("https://{host}/@example/tool/-/tool-1.0.0.tgz");
    assert!(done && said.trim() == address, "{said}");
    let (done, said) = npm(home.path(), "use", "install --no-audit @example/tool").await;
    assert!(done, "{said}");
    let installed = home
        .path()
        .join("use/node_modules/@example/tool/package.json");
    assert!(installed.is_file());
}
