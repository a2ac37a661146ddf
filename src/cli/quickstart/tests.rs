use std::io::Read;
use std::net::TcpStream;

use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/srv/certs/quickstart.toml")).map_err(|error| error.to_string())
}

#[test]
fn what_quickstart_runs_is_an_ordinary_configuration() {
    let listen = "127.0.0.1:8443".parse().unwrap();
    let sample = App::Sample(SampleApp::start().unwrap());
    let config = parse(&configuration(listen, &sample)).unwrap();
    assert_eq!(config.listener.listen, [listen]);
    assert_eq!(config.branding.title, "the sample app");
    assert_eq!(
        config.users.file().unwrap(),
        Path::new("/srv/certs/quickstart-users.toml")
    );
    let pair = &config.tls.certificates[0];
    assert_eq!(pair.cert, Path::new("/srv/certs/quickstart-cert.pem"));
    assert_eq!(pair.key, Path::new("/srv/certs/quickstart-key.pem"));
    assert!(config.apps[0].session_data);
    assert_eq!(
        config.admin.path(),
        Some(Path::new("/srv/certs/admin.sock")),
        "`session` and `status` work"
    );

    let own = App::Own("http://127.0.0.1:9090");
    let config = parse(&configuration("[::1]:443".parse().unwrap(), &own)).unwrap();
    assert!(
        !config.apps[0].session_data,
        "an app of one's own has to ask for it"
    );
    assert_eq!(config.branding.title, "quickstart");
}

#[test]
fn sec_98_a_folder_that_others_could_have_filled_is_not_taken() {
    use std::os::unix::fs::{PermissionsExt, chown};

    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("certs");
    prepare(&folder).unwrap();
    prepare(&folder).unwrap();
    let refused = || match prepare(&folder) {
        Err(Failure::Failed(message)) => message,
        other => panic!("{other:?}"),
    };
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
    std::fs::write(folder.join(account::USERS), "").unwrap();
    let said = refused();
    assert!(
        said.contains("do `chmod o-w ") && said.contains("a folder of your own"),
        "{said}"
    );
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
    if rustix::process::geteuid().is_root() {
        chown(folder.join(account::USERS), Some(65534), None).unwrap();
        assert!(refused().contains("do `chown 0 "));
        chown(folder.join(account::USERS), Some(0), None).unwrap();
        chown(&folder, Some(65534), None).unwrap();
        assert!(refused().contains("do `chown 0 "));
    }
}

#[test]
fn sec_98_another_folder_is_private_and_new() {
    let folders = [elsewhere("why").unwrap(), elsewhere("why").unwrap()];
    assert_ne!(folders[0], folders[1]);
    for folder in folders {
        prepare(&folder).unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&folder).unwrap());
        assert_eq!(mode & 0o777, 0o700);
        std::fs::remove_dir(folder).unwrap();
    }
}

#[test]
fn an_upstream_that_does_not_work_is_wrong_usage_with_its_mend() {
    for (upstream, fix) in [
        ("127.0.0.1:9090", "write \"http://127.0.0.1:9090\""),
        ("ftp://127.0.0.1", "http://, https:// and unix:/"),
        (
            "http://127.0.0.1:9090/app",
            "write \"http://127.0.0.1:9090\"",
        ),
        (
            "http://user:word@127.0.0.1",
            "an upstream has no user or password",
        ),
        ("", "the text is empty"),
        ("http://a\"]\n[admin", "a control character or line break"),
    ] {
        let args = Args {
            upstream: Some(upstream.to_owned()),
            listen: "127.0.0.1:0".parse().unwrap(),
        };
        let Err(Failure::Usage(message)) = run(&args) else {
            panic!("{upstream} was taken");
        };
        assert!(message.contains(fix), "{upstream}: {message}");
    }
}

#[test]
fn the_welcome_says_where_who_and_how() {
    let app = App::Own("http://127.0.0.1:9090");
    let password = Password::Kept("abcde-fghjk-mnpqr-stuvw".to_owned());
    for (address, host) in [
        ("127.0.0.1:8443", "https://localhost:8443\n"),
        ("0.0.0.0:443", "https://localhost:443\n"),
        ("[::1]:8443", "https://localhost:8443\n"),
        ("127.0.0.2:8443", "https://127.0.0.2:8443\n"),
        ("[fd00::7]:8443", "https://[fd00::7]:8443\n"),
    ] {
        let text = welcome(Path::new(FOLDER), address.parse().unwrap(), &app, &password);
        for part in [
            host,
            "admin\n",
            "abcde-fghjk-mnpqr-stuvw\n",
            "http://127.0.0.1:9090\n",
            "certs/quickstart-ca.pem",
            "vestibule session list --config certs/quickstart.toml\n",
            "Ctrl+C",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
    let changed = welcome(
        Path::new(FOLDER),
        "[::1]:1".parse().unwrap(),
        &app,
        &Password::Changed,
    );
    assert!(changed.contains("as you set it in certs/quickstart-users.toml"));
}

#[test]
fn the_sample_app_answers_until_it_is_dropped() {
    let app = SampleApp::start().unwrap();
    let address = app.address;
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /whoami HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    drop(app);
    assert!(TcpStream::connect(address).is_err());
}
