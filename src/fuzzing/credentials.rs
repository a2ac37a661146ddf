//! What programs show (SEC-96).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};

use super::fields;
use crate::auth::api_token;
use crate::proxy::{CredentialSettings, Credentials};

const OWN: HeaderName = HeaderName::from_static("x-api-key");

/// `Authorization`, a field a line, or the header of an app's choice: a token is taken out, or the
/// request is refused; what is not ours stands as it stood.
pub fn credentials(data: &[u8]) {
    let Some((&flags, lines)) = data.split_first() else {
        return;
    };
    let settings = CredentialSettings {
        tokens: true,
        token_header: Some(OWN),
        basic: flags & 1 != 0,
    };
    let credentials = Credentials::new(settings, ["x-api-key".to_owned()].into());
    for name in [
        header::AUTHORIZATION,
        OWN,
        HeaderName::from_static("x_api_key"),
    ] {
        let mut headers = fields(&name, lines);
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let before = headers.clone();
        match credentials.take(&mut headers) {
            Err(_) => continue,
            Ok(Some(_)) => assert_eq!(headers.len(), 1, "the others stay, and no other field"),
            Ok(None) => assert_eq!(headers, before),
        }
        assert!(!headers.iter().any(shows_token));
        let again = credentials.take(&mut headers);
        assert!(again.is_ok_and(|shown| shown.is_none()));
    }
}

/// To a reader who takes any word of Basic for base64.
fn shows_token((name, value): (&HeaderName, &HeaderValue)) -> bool {
    let value = value.as_bytes();
    let scheme = value.get(..5).filter(|_| name == header::AUTHORIZATION);
    let is_basic = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic"));
    let words = value.split(|byte| b" \t,".contains(byte));
    let mut decoded = words.filter_map(|word| STANDARD.decode(word).ok());
    api_token::find_in(value) || is_basic && decoded.any(|decoded| api_token::find_in(&decoded))
}
