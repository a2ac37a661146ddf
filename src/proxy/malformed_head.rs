//! Heads that are no requests: nothing in them is trusted, not even the host.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Response;

use super::Proxy;
use crate::error::RequestError;
use crate::pages::ErrorView;
use crate::portal;
use crate::request::{BadRequest, Malformed};
use crate::telemetry::RefusedHead;

impl Proxy {
    /// The answer to a head that is no request, and its access line, where there is an access log.
    /// A page: what would rather have JSON cannot be told.
    pub(crate) fn refuse_head(
        &self,
        client: IpAddr,
        malformed: Malformed,
    ) -> (Response<Bytes>, Option<RefusedHead>) {
        let error = RequestError::BadRequest(BadRequest::Head(malformed));
        let message = error.message();
        let id = self.shared.request_ids.next();
        tracing::debug!(request = %id, %client, %error, "a head was refused");
        let view = ErrorView {
            message,
            advice: message.advice,
            notice: None,
            names_app: false,
            start: "",
            login: portal::LOGIN,
            request_id: &id.to_string(),
        };
        let response = self.pages.titled(None).error(&view).into_response();
        self.shared.no_app.note(message.status, Duration::ZERO);
        let line = self.settings.access_log.then_some(RefusedHead {
            request: id,
            client,
            status: message.status,
            reason: message.code,
            error: malformed.text(),
        });
        (response, line)
    }
}
