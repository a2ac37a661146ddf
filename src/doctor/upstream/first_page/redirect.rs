//! Where an app leads browsers first.

use std::net::IpAddr;

use http::{Request, Uri, header, uri};

use super::{Asked, Meaning};
use crate::proxy::{AppSettings, Rewriter};
use crate::request::{Authority, Host, Target};
use crate::upstream::dial::Answer;

/// Characters of an address that are shown.
const LONGEST_SHOWN: usize = 120;

impl Asked<'_> {
    /// Of a redirect, as browsers get it.
    pub(super) fn redirect(&self, answer: &Answer) -> Option<Meaning> {
        let site = self.site()?;
        let mut headers = answer.headers.clone();
        let rewriter = Rewriter::new(&self.app.upstream, self.app.part.stripped());
        rewriter.rewrite(&mut headers, &site);
        let location = absolute(headers.get(header::LOCATION)?.to_str().ok()?, &site)?;
        let host = location.host()?;
        if !site.host().eq_ignore_ascii_case(host) {
            return self.elsewhere(&location, host);
        }
        if location.scheme_str() == Some("http") {
            return Some(self.not_ours(&location));
        }
        let port = location.port_u16().unwrap_or(443);
        let is_usual = port == 443 && !self.port.is_configured;
        if port != site.port().unwrap_or(443) && !is_usual {
            return Some(self.other_port(&location, port));
        }
        let is_same = location.path() == self.app.part.path() && location.query().is_none();
        // With a cookie, the next request is another one.
        if is_same && !headers.contains_key(header::SET_COOKIE) {
            return Some(self.circle(&location));
        }
        self.path(&location)
    }

    /// Another host than the one that was asked.
    fn elsewhere(&self, location: &Uri, host: &str) -> Option<Meaning> {
        let known = Host::parse(host);
        let is_of = |app: &AppSettings| {
            let known = known.as_ref().filter(|_| !app.hosts.are_any());
            known.is_some_and(|host| app.hosts.have(host))
        };
        if self.apps.iter().any(is_of) {
            return None;
        }
        if self.is_own_address(location) {
            return Some(self.not_ours(location));
        }
        is_inside(host.trim_matches(['[', ']'])).then(|| self.inside(location))
    }

    fn is_own_address(&self, location: &Uri) -> bool {
        let port = |scheme_is_https| if scheme_is_https { 443 } else { 80 };
        let theirs = location.port_u16();
        let theirs = theirs.unwrap_or(port(location.scheme_str() == Some("https")));
        self.app.upstream.addresses.iter().any(|address| {
            let own = address.host_header();
            let own = own
                .to_str()
                .ok()
                .and_then(|own| own.parse::<uri::Authority>().ok());
            own.is_some_and(|own| {
                let own_port = own.port_u16().unwrap_or(port(address.is_https()));
                Some(own.host()) == location.host() && own_port == theirs
            })
        })
    }

    /// What [`Rewriter`] leaves as it is when it is switched off.
    fn not_ours(&self, location: &Uri) -> Meaning {
        let message = format!(
            "{} redirects to {}, which browsers cannot follow",
            self.dialer.address(),
            shown(location)
        );
        let help = if self.app.upstream.rewriting.redirects {
            self.tell_its_address()
        } else {
            format!(
                "leave rewrite_redirects = false out, or {}",
                self.tell_its_address()
            )
        };
        (message, help)
    }

    fn inside(&self, location: &Uri) -> Meaning {
        let message = format!(
            "{} redirects to {}, an address of the inside, which browsers may not reach",
            self.dialer.address(),
            shown(location)
        );
        let upstream = &self.app.upstream;
        let help = if upstream.preserve_host && upstream.host.is_none() {
            self.tell_its_address()
        } else {
            format!(
                "{}; or leave out `preserve_host = false` and `upstream_host`, so that it gets the \
                 host of the browser",
                self.tell_its_address()
            )
        };
        (message, help)
    }

    /// On the host that was asked for.
    fn other_port(&self, location: &Uri, port: u16) -> Meaning {
        let message = format!(
            "{} redirects to {}, another port than that of browsers ({})",
            self.dialer.address(),
            shown(location),
            self.port.number
        );
        let help = format!(
            "{}; or set public_port = {port}, if browsers use that one",
            self.tell_its_address()
        );
        (message, help)
    }

    /// To https, where browsers are already.
    fn circle(&self, location: &Uri) -> Meaning {
        let message = format!(
            "{} redirects to {}, the very address that was asked for: browsers go round in circles",
            self.dialer.address(),
            shown(location)
        );
        let help = "let the application believe the X-Forwarded-Proto and X-Forwarded-Host that it \
                    gets from here (trusted proxies), or switch its own redirect to https off";
        (message, help.to_owned())
    }

    /// On the same host.
    fn path(&self, location: &Uri) -> Option<Meaning> {
        let (address, shown) = (self.dialer.address(), shown(location));
        let head = Request::get(location.path()).body(()).ok()?.into_parts().0;
        let target = match Target::parse(&head, self.app.allow_in_path) {
            Ok(target) => target,
            Err(error) => {
                let message = format!(
                    "{address} redirects to {shown}, which is refused here: {}",
                    error.text()
                );
                let help = "name what that path has in `allow_in_path`";
                return Some((message, help.to_owned()));
            }
        };
        let mut same_host = self
            .apps
            .iter()
            .filter(|app| app.hosts.meet(&self.app.hosts));
        if same_host.any(|app| app.part.covers(target.path())) {
            return None;
        }
        let below = self.app.part.path();
        let message = format!(
            "{address} redirects to {shown}, which is not below {below}: nobody gets there"
        );
        Some((message, self.tell_its_path()))
    }

    pub(super) fn tell_its_path(&self) -> String {
        let below = self.app.part.path();
        format!(
            "tell the application that it is below {below} (base path), or write strip_path = true"
        )
    }

    fn tell_its_address(&self) -> String {
        let host = self.browsers_host();
        let host = String::from_utf8_lossy(host.as_bytes()).into_owned();
        let path = self.app.part.path();
        format!("tell the application its address, https://{host}{path} (base or external URL)")
    }
}

/// Without what may be a secret, the query and the user, and no longer than a line: the app chooses it.
fn shown(location: &Uri) -> String {
    let host = location.host().unwrap_or_default();
    let port = location.port().map(|port| format!(":{port}"));
    let whole = format!(
        "{}://{host}{}{}",
        location.scheme_str().unwrap_or_default(),
        port.unwrap_or_default(),
        location.path()
    );
    let mut shown: String = whole.chars().take(LONGEST_SHOWN).collect();
    if shown.len() < whole.len() {
        shown.push('\u{2026}');
    } else if location.query().is_some() {
        shown.push_str("?\u{2026}");
    }
    shown
}

/// Where a browser at this site goes; `None` for what starts from the page itself, and so stays.
fn absolute(location: &str, site: &Authority) -> Option<Uri> {
    let start = |begin: &str| {
        let start = location.get(..begin.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(begin))
    };
    let whole = if start("//") {
        format!("https:{location}")
    } else if start("/") {
        format!("https://{}{location}", site.as_str())
    } else if start("http://") || start("https://") {
        location.to_owned()
    } else {
        return None;
    };
    whole.parse().ok()
}

/// A name or an address that means something in a network of its own only (RFC 1918, RFC 6762,
/// RFC 8375, RFC 9476).
fn is_inside(host: &str) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return match address {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
            IpAddr::V6(v6) => {
                v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()
            }
        };
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    match host.rsplit_once('.') {
        None => true,
        Some((_, last)) => matches!(
            last,
            "local"
                | "localhost"
                | "localdomain"
                | "internal"
                | "lan"
                | "home"
                | "arpa"
                | "corp"
                | "intranet"
                | "private"
                | "svc"
                | "docker"
                | "alt"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inside_host_is_told_from_one_of_the_internet() {
        for host in [
            "wiki",
            "localhost",
            "wiki.internal",
            "WIKI.Local.",
            "a.b.svc",
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "169.254.1.1",
            "::1",
            "fd00::1",
        ] {
            assert!(is_inside(host), "{host}");
        }
        for host in [
            "wiki.example.org",
            "login.example.com",
            "1.1.1.1",
            "2606:4700::1111",
        ] {
            assert!(!is_inside(host), "{host}");
        }
    }
}
