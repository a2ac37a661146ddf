//! `vestibule check --through`: whether the proxy in front lets clients choose what they are judged
//! by. A fixed set of requests goes through it, and the running server says how it has read them.

mod send;
mod spoofs;
mod verdict;

use std::io::{self, IsTerminal};
use std::net::{IpAddr, SocketAddr};

use http::Uri;
use http::uri::Scheme;

use crate::admin::protocol::{Done, Request};
use crate::cli::Failure;
use crate::cli::admin_client::{Client, foreign};
use crate::config::Config;
use crate::probe::ProbeKey;
use send::Sender;
pub(super) use verdict::Verdict;

/// The address of the proxy in front, as visitors know it.
struct Front {
    is_tls: bool,
    host: String,
    /// As `Host` has it.
    authority: String,
    port: u16,
    /// Ends with `/`.
    folder: String,
}

impl Front {
    fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let is_tls = *uri.scheme()? == Scheme::HTTPS;
        if !is_tls && *uri.scheme()? != Scheme::HTTP {
            return None;
        }
        let authority = uri.authority().filter(|it| !it.as_str().contains('@'))?;
        let folder = uri.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        Some(Self {
            is_tls,
            host: authority.host().to_owned(),
            authority: authority.as_str().to_owned(),
            port: (authority.port_u16()).unwrap_or(if is_tls { 443 } else { 80 }),
            folder: format!("{folder}/"),
        })
    }
}

/// Sends all probes through the proxy in front.
pub(super) fn ask(
    config: &Config,
    url: &str,
    connect_to: Option<SocketAddr>,
    from: Option<IpAddr>,
) -> Result<Verdict, Failure> {
    let front = Front::parse(url).ok_or_else(|| {
        Failure::Usage(format!(
            "`{url}` is not an address: write it as in https://wiki.example.org/"
        ))
    })?;
    let client = Client::new(config)?;
    let Done::ProbesBegun { key } = client.ask(&Request::ProbesBegin {})?.done? else {
        return Err(foreign());
    };
    let signer = ProbeKey::parse(&key).ok_or_else(foreign)?;
    let probes = spoofs::probes(&front.folder);
    if io::stderr().is_terminal() {
        eprintln!(
            "sending {} requests through {}",
            probes.len(),
            front.authority
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    let sent = runtime.block_on(async {
        let sender = Sender::new(&front, connect_to, from).await?;
        sender.send_all(&probes, &signer).await
    });
    // A name server that does not answer is not waited for.
    runtime.shutdown_background();
    let answer = client.ask(&Request::ProbesEnd { key })?;
    let Done::ProbesEnded {} = answer.done? else {
        return Err(foreign());
    };
    Verdict::of(&front, &probes, &sent?, &answer.probes)
}
