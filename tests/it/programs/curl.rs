//! curl, by each of the ways that it has.

use std::time::Duration;

use tokio::time::timeout;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn curl_signs_in_by_option_by_netrc_and_by_header() {
    let Some(curl) = real::find("curl") else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = before(&app.url()).app("token_header = \"X-Api-Key\"");
    let mut gate = gate.start().await;
    let token = token(&mut gate, &[]);
    let (with_token, with_password) = (Home::of(&gate), Home::of(&gate));
    with_token.write_netrc("ada", &token);
    with_password.write_netrc("ada", PASSWORD);
    with_token.write("upload", "what is sent");
    let (pair, own) = (format!("ada:{token}"), format!("X-Api-Key: {token}"));
    let by_password = format!("ada:{PASSWORD}");
    let url = format!("{}/calendar", origin(&gate));
    let ways: [(&Home, &[&str]); 9] = [
        (&with_token, &["-u", &pair]),
        (&with_token, &["-u", &pair, "--anyauth"]),
        (&with_token, &["--netrc"]),
        (&with_token, &["--oauth2-bearer", &token]),
        (&with_token, &["-H", &own]),
        (&with_token, &["-u", &pair, "--http1.1", "-T", "upload"]),
        (&with_password, &["-u", &by_password]),
        (&with_password, &["-u", &by_password, "--anyauth"]),
        (&with_password, &["--netrc"]),
    ];
    for (home, way) in ways {
        let before = app.requests();
        let args = [&["-fsS", &*url], way].concat();
        home.done(&curl, &args).await;
        assert_eq!(app.requests(), before + 1, "{way:?}");
        let request = app.last();
        assert_eq!(request.value("x-forwarded-user"), Some("ada"), "{way:?}");
        for absent in ["authorization", "x-api-key"] {
            assert_eq!(request.value(absent), None, "{way:?}");
        }
    }
    let before = app.requests();
    for wrong in ["ada:wrong", &format!("bob:{token}")] {
        let (done, said) = with_token.run(&curl, &["-fsS", "-u", wrong, &url]).await;
        assert!(!done && said.contains("401"), "{said}");
    }
    let (done, said) = with_token.run(&curl, &["-fsS", &url]).await;
    assert!(!done && said.contains("401"), "{said}");
    assert_eq!(app.requests(), before);
    let bytes = app.bytes();
    let secret = token.as_bytes();
    assert!(!bytes.windows(secret.len()).any(|part| part == secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_75_a_download_of_curl_ends_with_its_token() {
    let Some(curl) = real::find("curl") else {
        return;
    };
    let app = Upstream::scripted(|exchange| Box::pin(exchange.download_without_end())).await;
    let mut gate = before(&app.url()).start().await;
    let home = Home::of(&gate);
    for way in ["-u", "--oauth2-bearer"] {
        let token = token(&mut gate, &[]);
        let shown = match way {
            "-u" => format!("ada:{token}"),
            _ => token,
        };
        let args = ["-sS", way, &shown, "-o", "file", &origin(&gate)];
        let mut download = home.start(&curl, &args);
        let file = home.path("file");
        eventually("the beginning of the download", || {
            fs::metadata(&file).is_ok_and(|file| file.len() > 0)
        })
        .await;
        assert!(download.is_running());
        revoke(&mut gate);
        let end = timeout(Duration::from_secs(1), download.exit()).await;
        let status = end.unwrap_or_else(|_| panic!("{way}: it goes on after a second"));
        assert!(!status.success(), "{way}: curl takes it for whole");
        fs::remove_file(file).unwrap();
    }
}
