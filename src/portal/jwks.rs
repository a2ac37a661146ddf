//! `/.vestibule/jwks.json`: the keys by which apps verify identity tokens (RFC 7517).

use bytes::Bytes;
use http::Response;

use crate::error::RequestError;
use crate::identity::token::Signer;
use crate::pages;
use crate::session::StoreError;

/// Public, and the same for everybody who asks.
pub(super) fn show(signer: &Signer) -> Result<Response<Bytes>, RequestError> {
    match signer.published() {
        Some(keys) => Ok(pages::jwks(keys)),
        None if signer.is_waiting() => Err(RequestError::Session(StoreError::Unavailable)),
        None => Err(RequestError::NotFound),
    }
}
