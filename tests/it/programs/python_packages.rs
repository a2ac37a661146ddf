//! pip and twine, with an index of one's own.

use super::*;

/// Makes a wheel.
const WHEEL: &str = "
import zipfile
with zipfile.ZipFile('greeting-1.0-py3-none-any.whl', 'w') as wheel:
    info = 'greeting-1.0.dist-info'
    files = {
        'greeting.py': 'print(\"hello\")\\n',
        info + '/METADATA': 'Metadata-Version: 2.1\\nName: greeting\\nVersion: 1.0\\n',
        info + '/WHEEL': 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
    }
    for name, text in files.items():
        wheel.writestr(name, text)
    names = [*files, info + '/RECORD']
    wheel.writestr(info + '/RECORD', ''.join(name + ',,\\n' for name in names))
";

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_uploaded_by_twine_and_installed_by_pip() {
    let (Some(server), Some(twine)) = (real::find("pypi-server"), real::find("twine")) else {
        return;
    };
    let (Some(pip), Some(python)) = (real::find("pip"), real::find("python3")) else {
        return;
    };
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    fs::create_dir(folder.path().join("packages")).unwrap();
    let mut command = Command::new(server);
    command
        .args(["run", "-i", "127.0.0.1", "-p", &address.port().to_string()])
        .args(["-P", ".", "-a", ".", "--disable-fallback", "--overwrite"])
        .arg(folder.path().join("packages"));
    let app = real::App::start(command, address, folder).await;
    let mut gate = before(&app.url()).start().await;
    let token = token(&mut gate, &[]);
    let home = Home::of(&gate);
    home.done(&python, &["-c", WHEEL]).await;
    let wheel = "greeting-1.0-py3-none-any.whl";
    let upload = async |args: &[&str]| {
        let usual = ["upload", "--non-interactive", "--disable-progress-bar"];
        home.run(&twine, &[&usual, args, &[wheel]].concat()).await
    };

    let url = origin(&gate);
    let (done, said) = upload(&["--repository-url", &url, "-u", "ada", "-p", "wrong"]).await;
    assert!(!done && said.contains("401"), "{said}");
    assert!(!app.path("packages").join(wheel).exists());
    for secret in [&*token, PASSWORD] {
        let (done, said) = upload(&["--repository-url", &url, "-u", "ada", "-p", secret]).await;
        assert!(done, "{said}");
        fs::remove_file(app.path("packages").join(wheel)).unwrap();
    }
    home.write(
        ".pypirc",
        format!(
            "[distutils]\nindex-servers = ours\n[ours]\nrepository = {url}\nusername = ada\n\
             password = {token}\n"
        ),
    );
    let (done, said) = upload(&["-r", "ours"]).await;
    assert!(done, "{said}");
    assert!(app.path("packages").join(wheel).exists());

    let install = async |origin: &str| {
        let index = format!("{origin}/simple/");
        let usual = ["install", "--no-cache-dir", "--no-input", "--no-deps"];
        let args = [
            "--target",
            "here",
            "--upgrade",
            "--index-url",
            &index,
            "greeting",
        ];
        home.run(&pip, &[&usual[..], &args].concat()).await
    };
    let refused = install(&origin(&gate)).await;
    assert!(!refused.0, "{}", refused.1);
    for secret in [&*token, PASSWORD] {
        let (done, said) = install(&url_for(&gate, "ada", secret)).await;
        assert!(done, "{said}");
        let file = home.path("here/greeting.py");
        assert_eq!(fs::read_to_string(&file).unwrap(), "print(\"hello\")\n");
        fs::remove_dir_all(home.path("here")).unwrap();
    }
    home.write_netrc("ada", &token);
    let (done, said) = install(&origin(&gate)).await;
    assert!(done, "{said}");
    revoke(&mut gate);
    let (done, said) = install(&origin(&gate)).await;
    assert!(!done, "{said}");
}
