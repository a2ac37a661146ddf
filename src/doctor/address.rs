//! Addresses to listen on: free, allowed, and not in each other's way.

mod holder;

use std::io;
use std::net::{IpAddr, SocketAddr};

use self::holder::Process;
use super::Finding;
use crate::listener;

/// One address of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) address: SocketAddr,
    /// As the configuration calls it.
    pub(crate) key: &'static str,
    /// `None` where it is the default.
    pub(crate) line: Option<usize>,
}

/// Who has an address, and needs no fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Nobody,
    /// The running server of this configuration.
    Server,
    /// systemd, which hands it over when the service starts.
    Systemd,
    /// Whoever it is: nobody has asked for this address, and the running server does without. It
    /// has sockets of systemd.
    Unasked,
}

/// What processes of this program are called.
const OURS: &str = env!("CARGO_PKG_NAME");

/// The process that everything else comes from.
const SYSTEMD: u32 = 1;

/// What became of each address, and what is in the way. `served` are those that the running
/// server has.
pub(crate) fn examine(
    wanted: &[Wanted],
    served: &[SocketAddr],
) -> (Vec<(Wanted, Holder)>, Vec<Finding>) {
    let (mut good, mut findings) = (Vec::new(), overlaps(wanted));
    for one in wanted {
        match judge(one, served) {
            Ok(holder) => good.push((*one, holder)),
            Err(finding) => findings.push(finding),
        }
    }
    (good, findings)
}

fn judge(wanted: &Wanted, served: &[SocketAddr]) -> Result<Holder, Finding> {
    if served.contains(&wanted.address) {
        return Ok(Holder::Server);
    }
    if wanted.line.is_none() && !served.is_empty() {
        return Ok(Holder::Unasked);
    }
    // Of port 0 the system chooses one that is free.
    let Err(error) = listener::try_bind(wanted.address) else {
        return Ok(Holder::Nobody);
    };
    let in_use = error.kind() == io::ErrorKind::AddrInUse;
    let holder = in_use.then(|| holder::of(wanted.address)).flatten();
    match holder {
        Some(holder) if holder.pid == SYSTEMD => Ok(Holder::Systemd),
        holder => Err(in_the_way(wanted, &error, holder.as_ref())),
    }
}

fn in_the_way(wanted: &Wanted, error: &io::Error, holder: Option<&Process>) -> Finding {
    let Wanted { address, key, line } = *wanted;
    let finding = match (error.kind(), holder) {
        // Its own server, that is too busy to say so or of another version, is in nobody's way.
        (io::ErrorKind::AddrInUse, Some(holder)) if holder.name == OURS => Finding::warning(
            key,
            format!(
                "{address} is in use by {OURS} (process {}), which does not say so itself",
                holder.pid
            ),
            "if that is the server of this configuration, all is well; else stop it, or choose \
             another address",
        ),
        (io::ErrorKind::AddrInUse, Some(holder)) => Finding::error(
            key,
            format!(
                "{address} is in use by {} (process {})",
                holder.name, holder.pid
            ),
            "stop that program, or choose another address",
        ),
        // Whose a socket is, only root can see.
        (io::ErrorKind::AddrInUse, None) => Finding::warning(
            key,
            format!("{address} is in use by a program of another user"),
            format!(
                "see by which one, as root: ss -ltnp 'sport = :{}'; a socket of systemd for this \
                 service is as it should be",
                address.port()
            ),
        ),
        (io::ErrorKind::PermissionDenied, _) => Finding::warning(
            key,
            format!("you may not listen on {address}"),
            "ports below 1024 need root, CAP_NET_BIND_SERVICE (AmbientCapabilities= of the unit), \
             or a socket unit of systemd, as in packaging/",
        ),
        (io::ErrorKind::AddrNotAvailable, _) => Finding::error(
            key,
            format!("this machine does not have the address of {address}"),
            "name one that `ip address` shows, or [::] for all",
        ),
        _ => Finding::error(
            key,
            format!("cannot listen on {address}: {error}"),
            "choose another address",
        ),
    };
    finding.at(line)
}

/// Addresses of which the second cannot be bound once the first is: as of the habit to name
/// `0.0.0.0` and `[::]`, where `[::]` takes IPv4 as well.
fn overlaps(wanted: &[Wanted]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, second) in wanted.iter().enumerate() {
        let first = wanted[..index]
            .iter()
            .find(|first| covers(first.address, second.address));
        if let Some(first) = first {
            let message = format!(
                "{} is taken by {} of {} already",
                second.address, first.address, first.key
            );
            let help = "leave out the narrower one: [::] takes IPv4 and IPv6, 0.0.0.0 all of IPv4";
            findings.push(Finding::error(second.key, message, help).at(second.line));
        }
    }
    findings
}

/// Whether two sockets cannot listen there together.
fn covers(one: SocketAddr, other: SocketAddr) -> bool {
    let any_v6 = |ip: IpAddr| ip.is_ipv6() && ip.is_unspecified();
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port()
        && one.port() != 0
        && (a == b
            || any_v6(a)
            || any_v6(b)
            || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified())))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn wanted(address: &str) -> Wanted {
        Wanted {
            address: address.parse().unwrap(),
            key: "server.listen",
            line: Some(3),
        }
    }

    #[test]
    fn addresses_of_one_port_that_exclude_each_other_are_found() {
        for (first, second, expected) in [
            ("[::]:443", "0.0.0.0:443", true),
            ("0.0.0.0:443", "[::]:443", true),
            ("[::]:443", "127.0.0.1:443", true),
            ("0.0.0.0:443", "127.0.0.1:443", true),
            ("127.0.0.1:443", "127.0.0.1:443", true),
            ("0.0.0.0:443", "[::1]:443", false),
            ("127.0.0.1:443", "127.0.0.2:443", false),
            ("[::]:443", "[::]:80", false),
            ("[::]:0", "0.0.0.0:0", false),
        ] {
            let findings = overlaps(&[wanted(first), wanted(second)]);
            assert_eq!(findings.len(), usize::from(expected), "{first} {second}");
        }
    }

    #[test]
    fn who_has_an_address_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let wanted = wanted(&address.to_string());
        let (good, findings) = examine(&[wanted], &[]);
        assert!(good.is_empty());
        let own = format!("(process {})", std::process::id());
        assert!(findings[0].message.contains(&own), "{findings:?}");
        assert_eq!(findings[0].line, Some(3));

        let (good, findings) = examine(&[wanted], &[address]);
        assert_eq!(good[0].1, Holder::Server);
        assert!(findings.is_empty(), "{findings:?}");
        let default = Wanted {
            line: None,
            ..wanted
        };
        let other = "127.0.0.1:1".parse().unwrap();
        let (good, findings) = examine(&[default], &[other]);
        assert_eq!((good[0].1, findings.len()), (Holder::Unasked, 0));
        assert_eq!(examine(&[default], &[]).1.len(), 1, "no server runs");
        assert_eq!(examine(&[wanted], &[other]).1.len(), 1, "it is asked for");
        drop(taken);
        let (good, _) = examine(&[wanted], &[]);
        assert_eq!(good[0].1, Holder::Nobody);
    }

    #[test]
    fn what_only_another_user_may_see_or_do_is_a_warning() {
        let said = |kind| in_the_way(&wanted("[::]:443"), &io::Error::from(kind), None);
        let finding = said(io::ErrorKind::PermissionDenied);
        assert_eq!(finding.message, "you may not listen on [::]:443");
        assert!(finding.help.contains("CAP_NET_BIND_SERVICE"), "{finding:?}");
        let in_use = said(io::ErrorKind::AddrInUse);
        assert!(
            in_use.help.contains("ss -ltnp 'sport = :443'"),
            "{in_use:?}"
        );
        for finding in [finding, in_use] {
            assert_eq!(finding.severity, super::super::Severity::Warning);
        }
    }

    #[test]
    fn an_address_of_another_machine_is_said() {
        let (_, findings) = examine(&[wanted("192.0.2.1:8443")], &[]);
        assert!(
            findings[0].message.contains("does not have"),
            "{findings:?}"
        );
    }
}
