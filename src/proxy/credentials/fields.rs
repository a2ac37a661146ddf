//! Credentials of programs, as fields of a request have them (RFC 6750, RFC 7617).

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::{BasicPassword, NameAndPassword, Shown};
use crate::auth::api_token::{self, ApiToken};
use crate::request::BadRequest;

/// What is ours in the fields of a name; an error if there is more than one field, and ours among
/// them.
pub(super) fn only(
    headers: &HeaderMap,
    name: &HeaderName,
    read: impl Fn(&HeaderValue) -> Result<Option<Shown>, BadRequest>,
) -> Result<Option<Shown>, BadRequest> {
    let mut fields = headers.get_all(name).iter();
    let Some(first) = fields.next() else {
        return Ok(None);
    };
    let shown = read(first)?;
    let mut alone = shown.is_none();
    let mut several = false;
    for field in fields {
        several = true;
        alone &= read(field)?.is_none();
    }
    if several && !alone {
        return Err(BadRequest::Credentials);
    }
    Ok(shown)
}

const BASIC: &[u8] = b"Basic";

/// What is ours in an `Authorization`: `Bearer` with a token, or `Basic` with a token as the
/// password, or with any password where those are taken. An error is a token in another form: the
/// app could find it there.
pub(super) fn authorization(
    value: &HeaderValue,
    takes_passwords: bool,
) -> Result<Option<Shown>, BadRequest> {
    let field = value.as_bytes();
    if is_in_escapes(field) {
        return Err(BadRequest::Credentials);
    }
    let end = field.iter().position(|byte| matches!(byte, b' ' | b'\t'));
    let (scheme, rest) = field.split_at(end.unwrap_or(field.len()));
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"Bearer")
        && let Some(token) = ApiToken::parse(rest)
    {
        return Ok(Some(Shown::Token { token, user: None }));
    }
    if scheme.eq_ignore_ascii_case(BASIC) {
        return Ok(match basic(rest)? {
            Basic::Token(token, user) => Some(Shown::Token {
                token,
                user: Some(user),
            }),
            Basic::Other(pair) if takes_passwords => Some(Shown::Password(BasicPassword {
                pair,
                field: value.clone(),
            })),
            Basic::Other(_) => None,
        });
    }
    let after_basic = field.split_at_checked(BASIC.len());
    let after_basic = after_basic.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(BASIC));
    if api_token::find_in(field) || after_basic.is_some_and(|(_, rest)| hides_token(rest)) {
        return Err(BadRequest::Credentials);
    }
    Ok(None)
}

/// A token, and nothing but it.
pub(super) fn own_header(field: &HeaderValue) -> Result<Option<Shown>, BadRequest> {
    let field = field.as_bytes();
    if let Some(token) = ApiToken::parse(field) {
        return Ok(Some(Shown::Token { token, user: None }));
    }
    if holds_token(field) {
        return Err(BadRequest::Credentials);
    }
    Ok(None)
}

/// Whether a token is in a field that has none to us, as it stands or in escapes.
pub(super) fn holds_token(field: &[u8]) -> bool {
    api_token::find_in(field) || is_in_escapes(field)
}

/// How often escapes are taken out: what is still escaped then, no app reads.
const MOST_ESCAPED: usize = 3;

/// Whether a token is behind escapes of URLs, by itself or in base64: clients that take it from an
/// address send it so, and there are apps that take escapes out of everything.
fn is_in_escapes(field: &[u8]) -> bool {
    let has_escapes = |text: &[u8]| memchr::memchr(b'%', text).is_some();
    if !has_escapes(field) {
        return false; // as most
    }
    let mut text = Zeroizing::new(field.to_vec());
    for _ in 0..MOST_ESCAPED {
        text = Zeroizing::new(percent_decode(&text).collect());
        let end = text.iter().position(u8::is_ascii_whitespace);
        let after_scheme = &text[end.unwrap_or(0)..];
        if api_token::find_in(&text) || hides_token(after_scheme) {
            return true;
        }
        if !has_escapes(&text) {
            break;
        }
    }
    false
}

/// What HTTP Basic carries.
enum Basic {
    Token(ApiToken, String),
    /// A name and a password, or nothing that can be read as such.
    Other(Option<NameAndPassword>),
}

fn basic(encoded: &[u8]) -> Result<Basic, BadRequest> {
    let Ok(pair) = STANDARD.decode(encoded).map(Zeroizing::new) else {
        return if api_token::find_in(encoded) || hides_token(encoded) {
            Err(BadRequest::Credentials)
        } else {
            Ok(Basic::Other(None))
        };
    };
    let has_token = api_token::find_in(&pair);
    let pair = NameAndPassword::new(pair);
    if !has_token {
        return Ok(Basic::Other(pair));
    }
    let token = |pair: NameAndPassword| {
        let token = ApiToken::parse(pair.password())?;
        Some(Basic::Token(token, pair.name().to_owned()))
    };
    pair.and_then(token).ok_or(BadRequest::Credentials)
}

/// Without padding, and with bits at the end that mean nothing.
const LOOSE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Whether some reader finds a token in what is not quite base64. There are readers that skip what
/// is no letter of it (PHP, Python), that know both alphabets (Node.js), and that take one item of a
/// list.
fn hides_token(text: &[u8]) -> bool {
    let letters = |of_urls: bool| {
        let letter = |byte: &u8| match byte {
            b'-' if of_urls => Some(b'+'),
            b'_' if of_urls => Some(b'/'),
            b'+' | b'/' => Some(*byte),
            _ => byte.is_ascii_alphanumeric().then_some(*byte),
        };
        Zeroizing::new(text.iter().filter_map(letter).collect::<Vec<_>>())
    };
    let decodes_to_token = |letters: &[u8]| {
        let lone = usize::from(letters.len() % 4 == 1);
        let decoded = LOOSE.decode(&letters[..letters.len() - lone]);
        decoded.is_ok_and(|decoded| api_token::find_in(&Zeroizing::new(decoded)))
    };
    [false, true].into_iter().any(|of_urls| {
        let letters = letters(of_urls);
        (0..4).any(|skipped| letters.get(skipped..).is_some_and(decodes_to_token))
    })
}
