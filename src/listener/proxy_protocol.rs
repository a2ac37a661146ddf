//! The PROXY protocol, versions 1 and 2: a load balancer that passes TLS on says who the client is.
//!
//! Only who is listed may say it, and has to: the header comes before the first byte of TLS, and
//! whoever can send one can be any client. What the specification leaves open is refused.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// How long the whole header may take; it is the first thing that is sent.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Both versions are longer than this, so that it can be read without looking.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Of version 1, with CR LF.
const LONGEST_LINE: usize = 107;

/// Of version 2, after its 16 fixed bytes: what every receiver has to take.
const LONGEST_PAYLOAD: usize = 520;

/// Why a connection that has to begin with a header does not.
#[derive(Debug)]
pub(crate) enum HeaderError {
    Io(io::Error),
    Malformed(&'static str),
    TimedOut,
}

impl std::fmt::Display for HeaderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Malformed(what) => f.write_str(what),
            Self::TimedOut => f.write_str("it did not come in time"),
        }
    }
}

impl std::error::Error for HeaderError {}

impl From<io::Error> for HeaderError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads a header and not a byte more. Gives the client's address; `None` where the sender speaks
/// for itself, as in its health checks, or names no address of TCP: then the peer is the client.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<IpAddr>, HeaderError> {
    read_within(TIMEOUT, stream).await
}

async fn read_within(
    timeout: Duration,
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<IpAddr>, HeaderError> {
    let header = tokio::time::timeout(timeout, read_header(stream));
    let client = header.await.map_err(|_| HeaderError::TimedOut)??;
    Ok(client.map(|client| client.to_canonical()))
}

/// Reads a header, however long it takes to come.
pub(crate) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<IpAddr>, HeaderError> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let [version_and_command, family, length @ ..] = fixed;
        let length = usize::from(u16::from_be_bytes(length));
        if length > LONGEST_PAYLOAD {
            return Err(HeaderError::Malformed("the header is too long"));
        }
        let mut payload = [0; LONGEST_PAYLOAD];
        stream.read_exact(&mut payload[..length]).await?;
        return version_2(version_and_command, family, &payload[..length]);
    }
    if !start.starts_with(b"PROXY ") {
        return Err(HeaderError::Malformed("there is none"));
    }
    let mut line = Vec::with_capacity(LONGEST_LINE);
    line.extend(start);
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_LINE {
            return Err(HeaderError::Malformed("the line is too long"));
        }
        line.push(stream.read_u8().await?); // what follows belongs to TLS
    }
    version_1(&line[..line.len() - 2])
}

/// The line without its end.
fn version_1(line: &[u8]) -> Result<Option<IpAddr>, HeaderError> {
    const MALFORMED: HeaderError = HeaderError::Malformed("the line is not of version 1");
    let line = std::str::from_utf8(line).map_err(|_| MALFORMED)?;
    if line == "PROXY UNKNOWN" || line.starts_with("PROXY UNKNOWN ") {
        return Ok(None); // whatever follows
    }
    let fields: Vec<_> = line.split(' ').collect();
    let ["PROXY", family, source, destination, ports @ ..] = fields.as_slice() else {
        return Err(MALFORMED);
    };
    if ports.len() != 2 || !ports.iter().copied().all(is_port) {
        return Err(MALFORMED);
    }
    let addresses = match *family {
        "TCP4" => (source.parse::<Ipv4Addr>().ok())
            .zip(destination.parse::<Ipv4Addr>().ok())
            .map(|(source, _)| IpAddr::V4(source)),
        "TCP6" => (source.parse::<Ipv6Addr>().ok())
            .zip(destination.parse::<Ipv6Addr>().ok())
            .map(|(source, _)| IpAddr::V6(source)),
        _ => None,
    };
    addresses.map(Some).ok_or(MALFORMED)
}

/// 0 to 65535 in digits, without leading zeros.
fn is_port(text: &str) -> bool {
    text.parse::<u16>()
        .is_ok_and(|port| port.to_string() == text)
}

/// What follows the signature. Additional fields behind the addresses are skipped.
fn version_2(
    version_and_command: u8,
    family: u8,
    payload: &[u8],
) -> Result<Option<IpAddr>, HeaderError> {
    match version_and_command {
        0x20 => return Ok(None), // LOCAL
        0x21 => {}
        _ => return Err(HeaderError::Malformed("version or command is unknown")),
    }
    let source = match family {
        0x11 => payload
            .get(..12)
            .and_then(<[u8]>::first_chunk::<4>)
            .copied()
            .map(IpAddr::from),
        0x21 => payload
            .get(..36)
            .and_then(<[u8]>::first_chunk::<16>)
            .copied()
            .map(IpAddr::from),
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => return Ok(None), // none, UDP, Unix sockets
        _ => return Err(HeaderError::Malformed("the address family is unknown")),
    };
    source
        .map(Some)
        .ok_or(HeaderError::Malformed("the addresses are not whole"))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const V4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0xdc, 0x04, 0x01, 0xbb];

    /// The address and what is left in the stream.
    async fn outcome(sent: &[u8]) -> Result<(Option<String>, Vec<u8>), String> {
        let mut stream = sent;
        match read(&mut stream).await {
            Ok(client) => Ok((client.map(|client| client.to_string()), stream.to_vec())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        header.extend(payload);
        header
    }

    fn v6(source: &str) -> Vec<u8> {
        let source: Ipv6Addr = source.parse().unwrap();
        [&source.octets()[..], &[0; 16], &V4[8..]].concat()
    }

    #[tokio::test]
    async fn version_1_names_a_client_and_leaves_the_rest() {
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
        assert_eq!(longest.len(), LONGEST_LINE);
        for (line, client) in [
            (
                "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n",
                Some("203.0.113.7"),
            ),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                Some("255.255.255.255"),
            ),
            (
                "PROXY TCP4 203.0.113.7 192.0.2.1 0 0\r\n",
                Some("203.0.113.7"),
            ),
            (
                "PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n",
                Some("2001:db8::7"),
            ),
            (
                "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
                Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ),
            (
                "PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n",
                Some("203.0.113.7"),
            ),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
            (&longest, None),
        ] {
            let sent = [line.as_bytes(), b"\x16\x03\x01tls\r\n"].concat();
            let expected = (client.map(str::to_owned), b"\x16\x03\x01tls\r\n".to_vec());
            assert_eq!(outcome(&sent).await, Ok(expected), "{line:?}");
        }
    }

    #[tokio::test]
    async fn version_2_names_a_client_and_leaves_the_rest() {
        let mapped = v6("::ffff:203.0.113.7");
        let with_fields = [&V4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        let fullest = [&V4[..], &[7; LONGEST_PAYLOAD - 12]].concat();
        for (header, client) in [
            (v2(0x21, 0x11, &V4), Some("203.0.113.7")),
            (v2(0x21, 0x11, &with_fields), Some("203.0.113.7")),
            (v2(0x21, 0x11, &fullest), Some("203.0.113.7")),
            (v2(0x21, 0x21, &v6("2001:db8::7")), Some("2001:db8::7")),
            (v2(0x21, 0x21, &mapped), Some("203.0.113.7")),
            (v2(0x20, 0x11, &V4), None),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0xff, b"whatever"), None),
            (v2(0x21, 0x00, &[]), None),
            (v2(0x21, 0x12, &V4), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            let sent = [&header[..], b"\x16\x03\x01"].concat();
            let expected = (client.map(str::to_owned), b"\x16\x03\x01".to_vec());
            assert_eq!(outcome(&sent).await, Ok(expected), "{header:x?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long_line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        let mut long = v2(0x21, 0x11, &V4);
        long[14..16].copy_from_slice(&521_u16.to_be_bytes());
        long.resize(16 + 521, 0);
        let mut other_signature = v2(0x21, 0x11, &V4);
        other_signature[11] = b'\r';
        let cases: Vec<Vec<u8>> = vec![
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello and more of TLS".to_vec(),
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"proxy TCP4 203.0.113.7 192.0.2.1 1 2\r\n".to_vec(),
            b"PROXY\tTCP4 203.0.113.7 192.0.2.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 3\r\n".to_vec(),
            b"PROXY TCP4  203.0.113.7 192.0.2.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 \r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1 65536\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1 +2\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 192.0.2.1 01 2\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.07 192.0.2.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.256 192.0.2.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 2001:db8::1 1 2\r\n".to_vec(),
            b"PROXY TCP6 203.0.113.7 192.0.2.1 1 2\r\n".to_vec(),
            b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n".to_vec(),
            b"PROXY UDP4 203.0.113.7 192.0.2.1 1 2\r\n".to_vec(),
            b"PROXY UNKNOWNX\r\n and more of it\r\n".to_vec(),
            b"PROXY X\r\nPROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\n and more\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7\0 192.0.2.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.\xff 192.0.2.1 1 2\r\n".to_vec(),
            long_line.into_bytes(),
            vec![b'P'; 4000],
            [&b"PROXY "[..], &[b'x'; 4000]].concat(),
            other_signature,
            v2(0x11, 0x11, &V4),
            v2(0x31, 0x11, &V4),
            v2(0x22, 0x11, &V4),
            v2(0x21, 0x10, &V4),
            v2(0x21, 0x13, &V4),
            v2(0x21, 0x41, &V4),
            v2(0x21, 0x11, &V4[..11]),
            v2(0x21, 0x21, &[0; 35]),
            long,
        ];
        for sent in cases {
            let outcome = outcome(&sent).await;
            let shown = String::from_utf8_lossy(&sent[..sent.len().min(60)]).into_owned();
            assert!(outcome.is_err(), "{shown:?}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn half_a_header_is_none() {
        let whole = [
            b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n".to_vec(),
            v2(0x21, 0x11, &V4),
        ];
        for whole in whole {
            for end in 0..whole.len() {
                assert!(outcome(&whole[..end]).await.is_err(), "{end} bytes");
            }
        }
    }

    #[tokio::test]
    async fn sec_25_a_header_has_its_time_in_all_and_not_for_each_byte() {
        let timeout = Duration::from_millis(100);
        let (mut sender, mut receiver) = tokio::io::duplex(1);
        let sending = tokio::spawn(async move {
            let line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
            for byte in line.into_bytes() {
                if sender.write_u8(byte).await.is_err() {
                    return true;
                }
                tokio::time::sleep(timeout / 20).await; // five times too slow for the whole
            }
            false
        });
        let read = read_within(timeout, &mut receiver).await;
        assert!(matches!(read, Err(HeaderError::TimedOut)), "{read:?}");
        drop(receiver);
        assert!(sending.await.unwrap(), "it was not read to its end");
    }
}
