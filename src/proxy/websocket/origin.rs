//! Whose pages and programs may open WebSockets (SEC-74).

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, header};

use crate::error::OriginRefusal;
use crate::request::{self, Authority};

/// Whose WebSockets an app takes besides those of its own pages.
#[derive(Clone, Debug, Default)]
pub(crate) struct WebSocketOrigins {
    /// Origins of pages that may open them, too.
    pub(crate) others: Vec<String>,
    /// Whether they may come without `Origin` from trusted proxies, too.
    pub(crate) absent: bool,
}

/// What a WebSocket says of the page that opened it.
#[derive(Clone)]
pub(in crate::proxy) enum Origin {
    Named(HeaderValue),
    /// Nothing; the connection is from this address.
    Absent(IpAddr),
}

impl Origin {
    /// A browser sends the cookie whichever page opens a WebSocket, so that page has to be one of
    /// ours (RFC 6455 §10.2). Every browser sends `Origin`, and a current one Fetch Metadata:
    /// without them it is a program, which nobody else's page can steer.
    pub(in crate::proxy) fn of(
        headers: &HeaderMap,
        has_session: bool,
        has_cookie: bool,
        peer: IpAddr,
    ) -> Result<Self, OriginRefusal> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (Some(origin), None) => Ok(Self::Named(origin.clone())),
            (Some(_), Some(_)) => Err(OriginRefusal::Other),
            (None, _) if !has_session => {
                if has_cookie {
                    Err(OriginRefusal::AbsentWithCookie)
                } else {
                    Ok(Self::Absent(peer))
                }
            }
            (None, _) if request::has_fetch_metadata(headers) => {
                Err(OriginRefusal::AbsentFromBrowser)
            }
            (None, _) => Ok(Self::Absent(peer)),
        }
    }
}

impl WebSocketOrigins {
    /// Whether the configuration lets it be. A proxy in front may drop what a browser says of its
    /// page: without `Origin`, its app has to say that this one does not.
    pub(in crate::proxy) fn check(
        &self,
        origin: &Origin,
        authority: &Authority,
        is_proxy: impl FnOnce(IpAddr) -> bool,
    ) -> Result<(), OriginRefusal> {
        match origin {
            Origin::Named(origin) => {
                let origin = origin.as_bytes();
                let is = |other: &String| origin.eq_ignore_ascii_case(other.as_bytes());
                if authority.is_origin(origin) || self.others.iter().any(is) {
                    Ok(())
                } else {
                    Err(OriginRefusal::Other)
                }
            }
            Origin::Absent(peer) if !self.absent && is_proxy(*peer) => {
                Err(OriginRefusal::AbsentBehindProxy)
            }
            Origin::Absent(_) => Ok(()),
        }
    }
}
