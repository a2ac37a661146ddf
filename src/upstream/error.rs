//! What goes wrong between here and an application.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use prometheus_client::metrics::counter::Counter;
use rustls::pki_types::InvalidDnsNameError;

use super::http1::ResponseError;
use super::trust::Untrusted;
use crate::metrics::UpstreamErrorCounts;
use crate::pem_file::Unfit;

/// Why an app's upstream cannot be used at all; found at the start.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The file with the authorities has something else in it.
    Authorities(Unfit),
    /// One of them is no certificate that TLS can use.
    Authority(PathBuf, rustls::Error),
    /// There is no authority to trust.
    NoAuthorities,
    /// The host of an https address is no name that a certificate can have.
    ServerName(InvalidDnsNameError),
    Tls(rustls::Error),
    /// The file with the authorities cannot be read.
    Unreadable(PathBuf, io::Error),
}

/// Why an application's answer did not come.
#[derive(Debug)]
pub(crate) enum UpstreamError {
    /// An answer that two parsers might read in two ways (SEC-15).
    BadResponse(&'static str),
    /// All connections to the address are in use.
    Busy,
    /// The client did not send the body that it had announced.
    ClientBody,
    /// The client sent more than the application takes.
    ClientTooLarge,
    /// The client sent its body slower than is bearable (SEC-26).
    ClientTooSlow,
    Connect(io::Error),
    ConnectTimeout,
    /// The application signs connections in, and the client's is of HTTP/2 (SEC-92).
    Http1Required,
    /// No answer, or none that is HTTP.
    Send(ResponseError),
    ResponseTimeout,
    /// The request was not permitted any more before there was an answer (SEC-89).
    Withdrawn,
}

impl UpstreamError {
    /// Whether another address may do better.
    pub(super) fn is_of_address(&self) -> bool {
        matches!(
            self,
            Self::Connect(_) | Self::ConnectTimeout | Self::Send(_)
        )
    }

    pub(super) fn of_connection(error: ResponseError) -> Self {
        match error.refusal() {
            Some(what) => Self::BadResponse(what),
            None => Self::Send(error),
        }
    }

    /// Where it is counted.
    pub(crate) fn of<'c>(&self, counts: &'c UpstreamErrorCounts) -> Option<&'c Counter> {
        Some(match self {
            // Nothing went wrong.
            Self::ClientTooLarge | Self::Http1Required | Self::Withdrawn => return None,
            Self::BadResponse(_) => &counts.bad_response,
            Self::Busy => &counts.busy,
            Self::ClientBody => &counts.client_body,
            Self::ClientTooSlow => &counts.client_too_slow,
            Self::Connect(_) => &counts.connect,
            Self::ConnectTimeout => &counts.connect_timeout,
            Self::ResponseTimeout => &counts.response_timeout,
            Self::Send(_) => &counts.no_response,
        })
    }
}
impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadResponse(what) => write!(f, "the application's answer is ambiguous: {what}"),
            Self::Busy => {
                f.write_str("none of the connections to the application was free in time")
            }
            Self::ClientBody => f.write_str("the client broke its request body off"),
            Self::ClientTooLarge => f.write_str("the request body is larger than `max_body`"),
            Self::ClientTooSlow => f.write_str("the client sent its request body too slowly"),
            Self::Connect(error) => match Untrusted::of(error) {
                Some(untrusted) => write!(f, "cannot connect to the application: {untrusted}"),
                None => write!(f, "cannot connect to the application: {error}"),
            },
            Self::ConnectTimeout => f.write_str("connecting to the application took too long"),
            Self::Http1Required => {
                f.write_str("the application signs connections in, which takes HTTP/1.1")
            }
            Self::ResponseTimeout => f.write_str("the application did not answer in time"),
            Self::Send(error) if error.is_of_line() => write!(
                f,
                "no answer from the application: {error}; tolerate = [\"invalid-header-lines\"] \
                 drops lines that are no header fields"
            ),
            Self::Send(error) => write!(f, "no answer from the application: {error}"),
            Self::Withdrawn => f.write_str("the request is not permitted any more"),
        }
    }
}

impl Error for UpstreamError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) => Some(error),
            Self::Send(error) => Some(error),
            Self::BadResponse(_)
            | Self::Busy
            | Self::ClientBody
            | Self::ClientTooLarge
            | Self::ClientTooSlow
            | Self::ConnectTimeout
            | Self::Http1Required
            | Self::ResponseTimeout
            | Self::Withdrawn => None,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authorities(unfit) => unfit.fmt(f),
            Self::Authority(path, error) => {
                write!(f, "a certificate in {} cannot be used: {error}", path.display())
            }
            Self::NoAuthorities => f.write_str(
                "there is no certificate authority to trust; install ca-certificates or set upstream_ca",
            ),
            Self::ServerName(error) => write!(f, "the upstream's host cannot have a certificate: {error}"),
            Self::Tls(error) => write!(f, "cannot set up TLS to the upstream: {error}"),
            Self::Unreadable(path, error) => {
                write!(f, "cannot read the certificates in {}: {error}", path.display())
            }
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Authorities(unfit) => Some(unfit),
            Self::Unreadable(_, error) => Some(error),
            Self::Authority(_, error) | Self::Tls(error) => Some(error),
            Self::ServerName(error) => Some(error),
            Self::NoAuthorities => None,
        }
    }
}
