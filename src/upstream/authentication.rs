//! NTLM and Negotiate (RFC 4559), which sign a connection in and not a request: whatever comes over
//! that connection afterwards is taken for its user's (SEC-92).

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::own::Own;
use super::pool::Lease;
use super::{UpstreamError, Upstreams};
use crate::session::{Session, Sessions};

/// What becomes of authentication that signs in a connection and not a request (SEC-92).
#[derive(Clone, Copy)]
pub(crate) enum ConnectionAuth<'a> {
    /// The upstream connection belongs to this client connection and session from then on.
    Own {
        own: &'a Arc<Own>,
        session: &'a Arc<Session>,
        sessions: &'a Sessions,
    },
    /// The client connection has several requests at a time: it has to be HTTP/1.1.
    NeedsHttp1,
    /// There is nobody whose connection it could be: challenges and credentials end here.
    Dropped,
}

impl Upstreams {
    /// Whether a request's credentials sign its connection in; nobody's are gone then.
    pub(super) fn judge_credentials(
        &self,
        headers: &mut HeaderMap,
        auth: ConnectionAuth<'_>,
    ) -> Result<bool, UpstreamError> {
        if !signs_in(headers) {
            return Ok(false);
        }
        match auth {
            ConnectionAuth::Own { .. } => return Ok(true),
            ConnectionAuth::NeedsHttp1 => return Err(UpstreamError::Http1Required),
            ConnectionAuth::Dropped => {}
        }
        drop_credentials(headers);
        self.reports.dropped_auth();
        Ok(false)
    }

    /// The same for what an answer asks for.
    pub(super) fn judge_challenges(
        &self,
        headers: &mut HeaderMap,
        auth: ConnectionAuth<'_>,
    ) -> Result<bool, UpstreamError> {
        if !challenges(headers) {
            return Ok(false);
        }
        match auth {
            ConnectionAuth::Own { .. } => return Ok(true),
            ConnectionAuth::NeedsHttp1 => return Err(UpstreamError::Http1Required),
            ConnectionAuth::Dropped => {}
        }
        if drop_challenges(headers) {
            self.reports.dropped_auth();
        }
        Ok(false)
    }
}

/// Ties the connection to whom it is signed in for.
pub(super) fn tie(lease: &mut Lease, auth: ConnectionAuth<'_>) {
    if let ConnectionAuth::Own {
        own,
        session,
        sessions,
    } = auth
        && !lease.is_tied()
    {
        lease.tie(own, sessions.watch(session));
    }
}

/// Whether a request's credentials sign its connection in.
pub(super) fn signs_in(headers: &HeaderMap) -> bool {
    // A list of credentials is no HTTP; but an app may read one.
    names_scheme(headers, &header::AUTHORIZATION)
}

/// The same of one value of `Authorization`.
pub(crate) fn signs_connection_in(value: &HeaderValue) -> bool {
    value_names_scheme(value.as_bytes())
}

/// Whether an answer asks for such credentials, or goes on with them.
pub(crate) fn challenges(headers: &HeaderMap) -> bool {
    names_scheme(headers, &header::WWW_AUTHENTICATE)
        || names_scheme(headers, &header::PROXY_AUTHENTICATE)
}

/// Removes such credentials; whether there were any.
pub(super) fn drop_credentials(headers: &mut HeaderMap) -> bool {
    drop_schemes(headers, &header::AUTHORIZATION)
}

/// Removes such challenges, and leaves those of other schemes; whether there were any.
pub(super) fn drop_challenges(headers: &mut HeaderMap) -> bool {
    drop_schemes(headers, &header::WWW_AUTHENTICATE)
}

fn names_scheme(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut values = headers.get_all(name).iter();
    values.any(|value| value_names_scheme(value.as_bytes()))
}

/// A comma within quotes counts, too: better one that is none than one that is missed.
fn value_names_scheme(value: &[u8]) -> bool {
    let mut elements = value.split(|&byte| byte == b',');
    elements.any(|element| scheme(element).is_some_and(is_of_connection))
}

fn is_of_connection(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
}

fn drop_schemes(headers: &mut HeaderMap, name: &HeaderName) -> bool {
    if !names_scheme(headers, name) {
        return false;
    }
    let kept: Vec<_> = headers.get_all(name).iter().filter_map(others).collect();
    headers.remove(name);
    for value in kept {
        headers.append(name, value);
    }
    true
}

/// What is left of a list of challenges (RFC 9110 §11.6.1).
fn others(value: &HeaderValue) -> Option<HeaderValue> {
    if !value_names_scheme(value.as_bytes()) {
        return Some(value.clone());
    }
    let mut keeps = false;
    let mut kept: Vec<&[u8]> = Vec::new();
    // Of a list that cannot be read, nothing is left.
    for element in elements(value.as_bytes())? {
        if let Some(scheme) = scheme(element) {
            keeps = !is_of_connection(scheme);
        }
        if keeps {
            kept.push(element.trim_ascii());
        }
    }
    let kept = kept.join(&b", "[..]);
    let kept = HeaderValue::from_bytes(&kept).ok()?;
    (!kept.is_empty() && !value_names_scheme(kept.as_bytes())).then_some(kept)
}

/// The parts between commas that are not within quotes; `None` where a quote does not end.
fn elements(value: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut elements, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, &byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                elements.push(&value[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    elements.push(&value[start..]);
    (!quoted).then_some(elements)
}

/// The scheme that begins here; `None` for a further parameter of the one before.
fn scheme(element: &[u8]) -> Option<&[u8]> {
    let element = element.trim_ascii();
    let end = element.iter().position(|byte| b" \t=\"".contains(byte));
    let (token, rest) = element.split_at(end.unwrap_or(element.len()));
    let parameter = rest.trim_ascii_start().first() == Some(&b'=');
    (!token.is_empty() && !parameter).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_92_the_schemes_are_found_in_each_spelling() {
        for (value, expected) in [
            ("NTLM", true),
            ("ntlm TlRMTVNTUAABAAAA", true),
            ("Negotiate", true),
            ("NEGOTIATE\toYG1MIGyoAMKAQA=", true),
            ("Basic realm=\"a\", NTLM", true),
            ("Basic realm=\"a\",Negotiate abc==", true),
            ("  NTLM  ", true),
            ("Basic", false),
            ("Basic bnRsbQ==", false),
            ("Bearer NTLM", false),
            ("Digest negotiate=\"x\", ntlm = 1", false),
            ("NTLMv2 abc", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(value);
            for name in [header::AUTHORIZATION, header::WWW_AUTHENTICATE] {
                let headers = HeaderMap::from_iter([(name.clone(), value.clone())]);
                assert_eq!(names_scheme(&headers, &name), expected, "{value:?}");
            }
        }
    }

    #[test]
    fn sec_92_challenges_of_other_schemes_stay() {
        for (values, expected) in [
            (&["NTLM"][..], &[][..]),
            (
                &["Negotiate", "NTLM", "Basic realm=\"a\""],
                &["Basic realm=\"a\""],
            ),
            // What looks like one within quotes is not worth a doubt.
            (&["Negotiate, Basic realm=\"a, NTLM b\""], &[]),
            (
                &["Digest realm=\"x\", qop=\"a,b\" , Negotiate abc="],
                &["Digest realm=\"x\", qop=\"a,b\""],
            ),
            (&["Basic realm=\"broken, NTLM"], &[]),
            (&["Basic realm=\"\\\"\", NTLM"], &["Basic realm=\"\\\"\""]),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
            }
            assert!(drop_challenges(&mut headers), "{values:?}");
            let left: Vec<_> = headers.get_all(header::WWW_AUTHENTICATE).iter().collect();
            assert_eq!(left, expected, "{values:?}");
        }
    }
}
