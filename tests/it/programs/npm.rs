//! npm, with a registry that leaves the login to Vestibule.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_published_and_installed_with_a_token() {
    let (Some(verdaccio), Some(npm)) = (real::find("verdaccio"), real::find("npm")) else {
        return;
    };
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let config = format!(
        "listen: {address}\nstorage: ./storage\npackages:\n  \"**\":\n    access: $all\n    \
         publish: $all\nlog: {{type: stdout, format: json, level: warn}}\n"
    );
    let file = folder.path().join("config.yaml");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(verdaccio);
    command.env("HOME", folder.path()).arg("--config").arg(file);
    let app = real::App::start_slowly(command, address, folder).await;
    let gate = before(&app.url()).app("allow_in_path = [\"encoded-slash\"]");
    let mut gate = gate.start().await;
    let token = token(&mut gate, &[]);
    let home = Home::of(&gate);
    let host = host(&gate);
    let settings = format!("registry=https://{host}/\ncafile={}\n", gate.certificate());
    home.write(".npmrc", &settings);
    home.write(
        "tool/package.json",
        r#"{"name": "@example/tool", "version": "1.0.0"}"#,
    );
    home.write("use/package.json", "{}");
    let run = async |args: &[&str]| home.run(&npm, args).await;
    let (done, said) = run(&["view", "@example/tool"]).await;
    assert!(!done && said.contains("E401"), "{said}");
    home.write(
        ".npmrc",
        format!("{settings}//{host}/:_authToken={token}\n"),
    );
    let (done, said) = run(&["publish", "./tool"]).await;
    assert!(done, "{said}");
    let install = ["install", "--prefix", "use", "--no-audit", "@example/tool"];
    let (done, said) = run(&install).await;
    assert!(done, "{said}");
    let installed = "use/node_modules/@example/tool/package.json";
    assert!(home.path(installed).is_file());
    revoke(&mut gate);
    let (done, said) = run(&["view", "@example/tool"]).await;
    assert!(!done && said.contains("E401"), "{said}");
}
