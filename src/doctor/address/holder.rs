//! Which process listens on an address, as far as this one may see it: proc(5).

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// The state of a socket that listens.
const LISTEN: &str = "0A";

/// `None` when nobody has it, or a process of another user that one may not look into.
pub(super) fn of(address: SocketAddr) -> Option<Process> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let tables = tables.map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<_> = (tables.iter().flat_map(|table| table.lines().skip(1)))
        .filter_map(listening)
        .filter(|(bound, _)| super::covers(*bound, address))
        .map(|(_, inode)| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pid = pids.find(|&pid| has_open(pid, &sockets))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Process {
        pid,
        name: name.trim_end().replace(char::is_control, "\u{fffd}"),
    })
}

fn has_open(pid: u32, sockets: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        fs::read_link(descriptor.path()).is_ok_and(|target| {
            let target = target.to_string_lossy();
            sockets.iter().any(|socket| *socket == *target)
        })
    })
}

/// Address and inode of a line, if its socket listens.
fn listening(line: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let &[_, local, _, state, _, _, _, _, _, inode, ..] = fields.as_slice() else {
        return None;
    };
    let (ip, port) = local.split_once(':')?;
    let address = SocketAddr::new(ip_of(ip)?, u16::from_str_radix(port, 16).ok()?);
    (state == LISTEN).then_some((address, inode.parse().ok()?))
}

/// Words of 32 bits in the order of bytes that this machine has.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for word in hex.as_bytes().chunks(8) {
        let word = std::str::from_utf8(word).ok()?;
        bytes.extend(u32::from_str_radix(word, 16).ok()?.to_ne_bytes());
    }
    let v4 = <[u8; 4]>::try_from(&*bytes).map(|v4| Ipv4Addr::from(v4).into());
    v4.or_else(|_| <[u8; 16]>::try_from(&*bytes).map(|v6| Ipv6Addr::from(v6).into()))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_of_this_process_is_found_by_either_family() {
        for local in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(local) else {
                assert!(local.starts_with('['), "{local}"); // a machine without IPv6
                continue;
            };
            let address = listener.local_addr().unwrap();
            let holder = of(address).unwrap();
            assert_eq!(holder.pid, std::process::id(), "{address}");
            assert!(!holder.name.is_empty());
            drop(listener);
            assert!(of(address).is_none(), "{address}");
        }
    }

    #[test]
    fn a_line_that_is_none_is_no_listener() {
        for line in ["", "a b c", "0: 0100007F:ZZ 0:0 0A 0 0 0 0 0 12"] {
            assert!(listening(line).is_none(), "{line}");
        }
    }
}
