//! Reads the forms that our pages send: small, in time, each field once.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use http::request::Parts;
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use percent_encoding::percent_decode;
use zeroize::Zeroize;

use crate::error::RequestError;
use crate::upstream::ClientBody;

/// SEC-61.
const MAX_BODY: usize = 16 * 1024;

/// The whole form, not each read (SEC-26).
const TIMEOUT: Duration = Duration::from_secs(10);

/// The fields of a form; wiped when it is dropped, because one of them is a password.
pub(crate) struct Form(Vec<(Vec<u8>, Vec<u8>)>);

impl Form {
    /// Takes `application/x-www-form-urlencoded` and nothing else (SEC-55).
    pub(super) async fn read(head: &Parts, body: ClientBody) -> Result<Self, RequestError> {
        let kind = head
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let kind = kind
            .and_then(|kind| kind.split(';').next())
            .unwrap_or_default();
        if !kind
            .trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        {
            return Err(RequestError::UnsupportedMediaType);
        }
        Ok(Self::parse(&read_body(body).await?))
    }

    /// Pairs with `&` between them (URL Standard §5.1).
    pub(crate) fn parse(body: &[u8]) -> Self {
        let fields = body
            .split(|&byte| byte == b'&')
            .filter(|field| !field.is_empty());
        Self(fields.map(decode).collect())
    }

    /// Reads a form of `text/plain`: a field a line, as it is (HTML, "text/plain encoding
    /// algorithm"). The caller has seen that it is one.
    pub(super) async fn read_plain(body: ClientBody) -> Result<Self, RequestError> {
        let lines = read_body(body).await?;
        let lines = lines
            .split(|&byte| byte == b'\n')
            .map(<[u8]>::trim_ascii_end)
            .filter(|line| !line.is_empty());
        let split = |line: &[u8]| {
            let equals = line.iter().position(|&byte| byte == b'=');
            let (name, value) = line.split_at(equals.unwrap_or(line.len()));
            (name.to_vec(), value.get(1..).unwrap_or_default().to_vec())
        };
        Ok(Self(lines.map(split).collect()))
    }

    /// The bytes of a field that has to be there, exactly once; a password is any bytes (SEC-57).
    pub(crate) fn take_bytes(&mut self, name: &str) -> Result<Vec<u8>, RequestError> {
        self.find(name)?.ok_or(RequestError::Form)
    }

    /// The text of a field that has to be there, exactly once.
    pub(super) fn take(&mut self, name: &str) -> Result<String, RequestError> {
        String::from_utf8(self.take_bytes(name)?).map_err(|_| RequestError::Form)
    }

    /// The text of a field that is there once, or empty.
    pub(super) fn take_optional(&mut self, name: &str) -> Result<String, RequestError> {
        let value = self.find(name)?.unwrap_or_default();
        String::from_utf8(value).map_err(|_| RequestError::Form)
    }

    fn find(&mut self, name: &str) -> Result<Option<Vec<u8>>, RequestError> {
        let mut values = self
            .0
            .iter_mut()
            .filter(|(field, _)| field == name.as_bytes());
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some((_, value)), None) => Ok(Some(std::mem::take(value))),
            (Some(_), Some(_)) => Err(RequestError::Form),
        }
    }
}

async fn read_body(body: ClientBody) -> Result<Bytes, RequestError> {
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(RequestError::BodyTooLarge);
    }
    let body = tokio::time::timeout(TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    let body = body.map_err(|_| RequestError::BodyTooSlow)?;
    let body = body.map_err(|error| match error.downcast_ref::<hyper::Error>() {
        Some(_) => RequestError::Form,
        None => RequestError::BodyTooLarge,
    })?;
    Ok(body.to_bytes())
}

/// Name and value byte for byte; the usual decoders put U+FFFD for what is not UTF-8, and then
/// many passwords would be one.
fn decode(field: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let equals = field
        .iter()
        .position(|&byte| byte == b'=')
        .unwrap_or(field.len());
    let decode = |text: &[u8]| {
        let spaced: Vec<_> = text
            .iter()
            .map(|&b| if b == b'+' { b' ' } else { b })
            .collect();
        percent_decode(&spaced).collect()
    };
    (
        decode(&field[..equals]),
        decode(field.get(equals + 1..).unwrap_or_default()),
    )
}

impl Drop for Form {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

/// The value of a query parameter; empty when it is missing or there is more than one.
pub(super) fn query_value<'a>(head: &'a Parts, name: &str) -> Cow<'a, str> {
    let query = head.uri.query().unwrap_or_default();
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    match (values.next(), values.next()) {
        (Some((_, value)), None) => value,
        _ => Cow::Borrowed(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_57_a_password_keeps_every_byte() {
        for (field, value) in [
            ("p=correct+horse", &b"correct horse"[..]),
            ("p=a%2Bb%26c%3D", b"a+b&c="),
            ("p=%00%ff%fe", b"\0\xff\xfe"),
            ("p=+x+", b" x "),
            ("p=100%", b"100%"),
            ("p==", b"="),
            ("p", b""),
        ] {
            assert_eq!(
                decode(field.as_bytes()),
                (b"p".to_vec(), value.to_vec()),
                "{field}"
            );
        }
    }
}
