//! `/.vestibule/jwks.json`: the keys by which apps verify identity tokens (RFC 7517).

use bytes::Bytes;
use http::Response;

use crate::error::RequestError;
use crate::identity::token::Signer;
use crate::pages;

/// Public, and the same for everybody who asks.
pub(super) fn show(signer: &Signer) -> Result<Response<Bytes>, RequestError> {
    let keys = signer.published().ok_or(RequestError::NotFound)?;
    Ok(pages::jwks(keys))
}
