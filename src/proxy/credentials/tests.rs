use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn credentials(token_header: Option<&'static str>) -> Credentials {
    let settings = CredentialSettings {
        tokens: true,
        basic: false,
        token_header: token_header.map(HeaderName::from_static),
    };
    Credentials::new(settings, Arc::from(["x-api-key".to_owned()]))
}

#[test]
fn the_names_that_apps_share_are_compared_once() {
    let of_app = |name: &'static str| CredentialSettings {
        token_header: Some(HeaderName::from_static(name)),
        ..CredentialSettings::default()
    };
    let mut all = vec![of_app("x-api-key"); 1000];
    all.extend([of_app("x_api_key"), of_app("private-token")]);
    all.push(CredentialSettings::default());
    assert_eq!(*token_headers(all.iter()), ["private-token", "x-api-key"]);
}

/// The token that was shown, and the user whose name came with it.
fn token_of(shown: &Shown) -> (&ApiToken, Option<&str>) {
    match shown {
        Shown::Token { token, user } => (token, user.as_deref()),
        Shown::Password(_) => panic!("a password"),
    }
}

fn headers(fields: &[(&'static str, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn encoded(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

#[test]
fn sec_96_a_token_is_taken_out_and_everything_else_is_the_apps() {
    let token = ApiToken::generate().unwrap();
    let text = token.expose();
    let wrong = format!("{}0", &text[..52]);
    assert!(ApiToken::parse(wrong.as_bytes()).is_none() || text.ends_with('0'));
    for (value, user) in [
        (format!("Bearer {text}"), None),
        (format!("bearer   {text} "), None),
        (encoded(&format!("ada:{text}")), Some("ada")),
        (encoded(&format!(":{text}")), Some("")),
    ] {
        let mut headers = headers(&[("authorization", value)]);
        let shown = credentials(None).take(&mut headers).unwrap().unwrap();
        let (shown, name) = token_of(&shown);
        assert_eq!((shown.key(), name), (token.key(), user));
        assert!(headers.is_empty());
    }
    for value in [
        "Bearer of.the.app".to_owned(),
        "Bearer".to_owned(),
        "Bearer vst_".to_owned(),
        format!("Bearer {}", text.to_lowercase().replace("vst_", "vst-")),
        "Basic".to_owned(),
        "Basic !!!!".to_owned(),
        encoded("ada:correct horse"),
        encoded("no colon"),
        "Negotiate YII".to_owned(),
    ] {
        let mut headers = headers(&[("authorization", value.clone())]);
        assert!(credentials(None).take(&mut headers).unwrap().is_none());
        assert_eq!(headers["authorization"], *value);
    }
}

#[test]
fn sec_96_a_token_in_a_form_that_is_not_taken_reaches_no_app() {
    let token = ApiToken::generate().unwrap();
    let text = token.expose();
    let bearer = format!("Bearer {text}");
    for fields in [
        vec![("authorization", text.to_owned())],
        vec![("authorization", format!("Token {text}"))],
        vec![("authorization", format!("Bearer {text}, Bearer x"))],
        vec![("authorization", format!("Bearer x{text}"))],
        vec![("authorization", encoded(&format!("{text}:x-oauth-basic")))],
        vec![("authorization", encoded(&format!("ada:{text}\n")))],
        vec![("authorization", bearer.clone()); 2],
        vec![
            ("authorization", "Basic eDp5".to_owned()),
            ("authorization", bearer.clone()),
        ],
        vec![
            ("authorization", bearer.clone()),
            ("authorization", "Bearer x".to_owned()),
        ],
        vec![("authorization", bearer), ("x-api-key", text.to_owned())],
        vec![("x-api-key", format!("Bearer {text}"))],
        vec![("x-api-key", text.to_owned()); 2],
    ] {
        let mut headers = headers(&fields);
        let result = credentials(Some("x-api-key")).take(&mut headers);
        assert_eq!(result.err(), Some(BadRequest::Credentials), "{fields:?}");
    }
}

/// A client that took it from an address may send it so, and an app may take the escapes out.
#[test]
fn sec_96_a_token_in_escapes_of_urls_reaches_no_app() {
    let token = ApiToken::generate().unwrap();
    let text = token.expose();
    let escaped = |text: &str| {
        let escapes = text.bytes().map(|byte| format!("%{byte:02x}"));
        escapes.collect::<Vec<_>>().concat()
    };
    let pair = encoded(&format!("ada:{text}"));
    let base64 = pair.strip_prefix("Basic ").unwrap();
    let (begin, end) = base64.split_at(17);
    for (name, value) in [
        (
            "authorization",
            format!("Bearer {}", text.replace('_', "%5F")),
        ),
        ("authorization", format!("Bearer {}", escaped(text))),
        (
            "authorization",
            format!("Bearer {}", escaped(&escaped(text))),
        ),
        ("authorization", format!("Bearer%20{text}")),
        ("authorization", format!("Basic {begin}{}", escaped(end))),
        ("authorization", format!("Basic%20{}", escaped(base64))),
        ("authorization", escaped(&pair)),
        ("authorization", format!("Token {}", escaped(text))),
        ("x-api-key", escaped(text)),
    ] {
        let mut sent = headers(&[(name, value.clone())]);
        let result = credentials(Some("x-api-key")).take(&mut sent);
        assert_eq!(result.err(), Some(BadRequest::Credentials), "{value}");
    }
    for value in ["Bearer 100%", "Basic %%%", "Digest uri=\"/a%20b\""] {
        let mut sent = headers(&[("authorization", value.to_owned())]);
        let result = credentials(Some("x-api-key")).take(&mut sent);
        assert!(result.unwrap().is_none(), "{value}");
        assert_eq!(sent.len(), 1, "{value}");
    }
}

#[test]
fn a_header_of_the_apps_choice_is_looked_into() {
    let token = ApiToken::generate().unwrap();
    let in_header = || headers(&[("x-api-key", token.expose().to_owned())]);
    let mut ours = in_header();
    let shown = credentials(Some("x-api-key")).take(&mut ours).unwrap();
    assert_eq!(token_of(&shown.unwrap()).0.key(), token.key());
    assert!(ours.is_empty());
    let by_another_app = credentials(None).take(&mut in_header());
    assert_eq!(by_another_app.err(), Some(BadRequest::Credentials));
    let mut other = headers(&[("x-api-key", "of the app".to_owned())]);
    let result = credentials(Some("x-api-key")).take(&mut other);
    assert!(result.unwrap().is_none());
    assert_eq!(other.len(), 1);
}

#[test]
fn a_password_is_looked_at_only_where_an_app_takes_passwords() {
    for (value, pair) in [
        (
            encoded("ada:correct: horse"),
            Some(("ada", "correct: horse")),
        ),
        (encoded(":"), Some(("", ""))),
        (encoded("no colon"), None),
        ("Basic !!!!".to_owned(), None),
        ("Basic".to_owned(), None),
    ] {
        let mut headers = headers(&[("authorization", value.clone())]);
        assert!(credentials(None).take(&mut headers).unwrap().is_none());
        let settings = CredentialSettings {
            basic: true,
            ..CredentialSettings::default()
        };
        let taking = Credentials::new(settings, Arc::default());
        let Some(Shown::Password(shown)) = taking.take(&mut headers).unwrap() else {
            panic!("no password in {value}");
        };
        assert!(headers.is_empty());
        assert_eq!(shown.field, *value);
        let found = shown.pair.as_ref();
        let found = found.map(|pair| (pair.name(), pair.password()));
        assert_eq!(
            found,
            pair.map(|(user, password)| (user, password.as_bytes()))
        );
    }
}
