//! Tokens where nobody looks for one, on a path that everyone may open: no app sees them.

use super::*;

/// An app with a token header, another one with another, and a part of each for everyone.
async fn started() -> (Upstream, Upstream, Service, String) {
    let (app, other) = (app().await, Upstream::echo().await);
    let section = format!(
        "[[app]]\nname = \"other\"\nhost = \"other.test\"\nupstream = \"{}\"\ntokens = true\n\
         token_header = \"PRIVATE-TOKEN\"\n[[app.rule]]\npath = \"/public\"\nallow = \"everyone\"\n",
        other.url()
    );
    let service = before(&app)
        .app("host = \"gate.test\"\ntoken_header = \"X-Api-Key\"")
        .rule("/public", "everyone")
        .config(&section)
        .spawn()
        .await;
    let token = made(&service.files, "ada", &[]);
    (app, other, service, token)
}

async fn status(service: &Service, host: &str, field: &str) -> u16 {
    let mut raw = service.raw_for(host).await;
    raw.send(format!(
        "GET /public HTTP/1.1\r\nHost: {host}\r\n{field}\r\n\r\n"
    ))
    .await;
    raw.response().await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_96_a_token_in_something_like_base64_reaches_no_app() {
    let (app, _other, service, token) = started().await;
    let padded = STANDARD.encode(format!("a:{token}"));
    assert!(padded.ends_with("=="));
    let unpadded = padded.trim_end_matches('=');
    let odd = STANDARD.encode(format!("?>~:{token}"));
    assert!(odd.starts_with("Pz5+"));
    let (begin, end) = padded.split_at(30);
    for value in [
        format!("Basic {token}"),
        format!("Basic {unpadded}"),
        format!("Basic {padded}="),
        format!("Basic {padded}!"),
        format!("Basic {}", odd.replace('+', "-")),
        format!("Basic {begin} {end}"),
        format!("Basic {begin}\t{end}"),
        format!("Basic {padded}, Basic eDp5"),
        format!("Basic eDp5, Basic {padded}"),
        format!("Basic realm=\"x\", {padded}"),
        format!("BASIC,{padded}"),
        format!("Basic={padded}"),
    ] {
        let status = status(&service, "gate.test", &format!("Authorization: {value}")).await;
        assert_eq!(status, 400, "{value}");
    }
    assert_eq!(app.requests(), 0);
    // What is nobody's token is the app's, however odd.
    for value in ["Basic eDp5=", "Basic -_-, x", "Basic", "Basicx eDp5"] {
        let status = status(&service, "gate.test", &format!("Authorization: {value}")).await;
        assert_eq!(status, 200, "{value}");
        assert_eq!(app.last().value("authorization"), Some(value));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_36_a_token_in_a_name_that_is_the_same_to_cgi_reaches_no_app() {
    let (app, other, service, token) = started().await;
    for name in ["X_Api_Key", "x-api_key", "X.Api.Key", "X~Api-Key"] {
        let status = status(&service, "gate.test", &format!("{name}: {token}")).await;
        assert_eq!(status, 400, "{name}");
    }
    // In the header of another app, too: both may belong to one program.
    for name in ["Private-Token", "PRIVATE_TOKEN", "X-Api-Key"] {
        let host = if name == "X-Api-Key" {
            "other.test"
        } else {
            "gate.test"
        };
        let status = status(&service, host, &format!("{name}: {token}")).await;
        assert_eq!(status, 400, "{name}");
    }
    assert_eq!((app.requests(), other.requests()), (0, 0));
    let status = status(&service, "gate.test", "X_Api_Key: of the app").await;
    assert_eq!(status, 200);
    assert_eq!(app.last().value("x_api_key"), Some("of the app"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_96_no_app_sees_a_token_when_none_takes_tokens_any_more() {
    let (app, _other, service, token) = started().await;
    let files = &service.files;
    let text = std::fs::read_to_string(files.path("config.toml")).unwrap();
    let lines = text.lines();
    let without = lines.filter(|line| !line.starts_with("token"));
    let without: Vec<_> = without.collect();
    files.write("config.toml", &without.join("\n"), 0o644);
    done(files, &["reload"]);
    for value in [bearer(&token), basic("ada", &token)] {
        let field = format!("Authorization: {value}");
        let before = app.requests();
        assert_eq!(status(&service, "gate.test", &field).await, 200);
        assert_eq!(app.requests(), before + 1);
        assert_eq!(app.last().value("authorization"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_33_a_token_for_some_methods_overrides_none() {
    let (app, _other, service, token) = started().await;
    let reads = bearer(&made(&service.files, "ada", &["--method", "GET"]));
    let browser = service.browser();
    for name in [
        "x-http-method-override",
        "x_http_method_override",
        "x-http-method",
        "x-method-override",
    ] {
        let headers = [("authorization", &*reads), (name, "DELETE")];
        ask(&browser, "GET", "/", &headers).await.assert_status(200);
        assert_eq!(app.last().values(name), [""; 0], "{name}");
        // Another token may do so anyway.
        let all = bearer(&token);
        let headers = [("authorization", &*all), (name, "DELETE")];
        ask(&browser, "GET", "/", &headers).await.assert_status(200);
        assert_eq!(app.last().value(name), Some("DELETE"));
    }
}

/// RFC 6750 §2.2 and §2.3 know two more ways to send one. Both end up in logs and caches, and nobody looks
/// there.
#[tokio::test(flavor = "multi_thread")]
async fn sec_96_a_token_in_a_query_or_a_form_is_no_credential_and_in_no_log() {
    let (app, other, service, token) = started().await;
    let form = format!("access_token={token}&token={token}&password={token}");
    let mut requests = Vec::new();
    for query in [
        format!("access_token={token}"),
        format!("token={token}"),
        format!("authorization=Bearer%20{token}"),
        format!("Authorization=Bearer+{token}&authorization={token}"),
        format!("X-Api-Key={token}"),
        format!("x-api-key={token}&PRIVATE-TOKEN={token}"),
        format!("private_token={token}"),
        token.clone(),
        format!("a=b;access_token={token}"),
        format!("%61ccess_token={token}#access_token={token}"),
    ] {
        requests.push(format!("GET /x?{query} HTTP/1.1\r\nHost: HOST\r\n\r\n"));
    }
    requests.push(format!(
        "POST /x HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    ));
    // As a name in the target (RFC 9110 §4.2.4), and as one in Host.
    requests.push(format!(
        "GET https://ada:{token}@HOST/x HTTP/1.1\r\nHost: HOST\r\n\r\n"
    ));
    requests.push(format!("GET /x HTTP/1.1\r\nHost: ada:{token}@HOST\r\n\r\n"));
    for host in ["gate.test", "other.test"] {
        for request in &requests {
            let mut raw = service.raw_for(host).await;
            raw.send(request.replace("HOST", host)).await;
            let status = raw.response().await.status;
            assert!([400, 401].contains(&status), "{status}: {request}");
        }
    }
    assert_eq!((app.requests(), other.requests()), (0, 0));
    let said = service.program.stdout() + &service.program.stderr();
    assert!(said.contains("\"/x\""), "{said}");
    assert!(!said.contains(&token[4..40]), "{said}");
}

/// A field has no second line (RFC 9112 §5.2), and Base64 of a field has no line breaks (RFC 4648 §3.1).
#[tokio::test(flavor = "multi_thread")]
async fn sec_96_base64_with_line_breaks_lets_nobody_in() {
    let (app, _other, service, token) = started().await;
    let whole = STANDARD.encode(format!("ada:{token}"));
    let (begin, end) = whole.split_at(40);
    for between in [
        "\r\n ", "\r\n\t", "\n ", "\n", "\r", "\r\n", "\r\n\r\n", "\0", "\u{b}", "\u{c}",
    ] {
        for target in ["/x", "/public"] {
            let mut raw = service.raw_for("gate.test").await;
            raw.send(format!(
                "GET {target} HTTP/1.1\r\nHost: gate.test\r\nAuthorization: Basic {begin}{between}{end}\r\n\r\n"
            ))
            .await;
            let status = raw.response().await.status;
            // Before an empty line ends the head, there is only the beginning of one.
            let is_whole = between == "\r\n\r\n";
            let expected = if is_whole && target == "/x" { 401 } else { 400 };
            let is_apps = is_whole && target == "/public";
            assert!(
                status == expected || is_apps && status == 200,
                "{between:?} {target}: {status}"
            );
        }
    }
    for end in ["%0a", "%0D%0A", "\\n", "\\r\\n", "&#10;", "\u{2028}"] {
        let field = format!("Authorization: Basic {begin}{end}{}", &whole[40..]);
        let mut raw = service.raw_for("gate.test").await;
        raw.send(format!(
            "GET /x HTTP/1.1\r\nHost: gate.test\r\n{field}\r\n\r\n"
        ))
        .await;
        let status = raw.response().await.status;
        assert!([400, 401].contains(&status), "{end:?}: {status}");
    }
    let signed_in = |head: &str| head.to_ascii_lowercase().contains("x-forwarded-user");
    assert!(app.received().iter().all(|it| !signed_in(&it.head)));
    assert!(
        !app.bytes()
            .windows(20)
            .any(|it| it == &whole.as_bytes()[40..60])
    );
}
