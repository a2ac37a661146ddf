//! What proxies say of the hops behind them: `X-Forwarded-For`, in the forms that proxies write, or
//! `Forwarded` (RFC 7239).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue, header};

pub(super) const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The hops that a request says to have come by, and by which field.
pub(super) struct Chain<'h> {
    pub(super) field: HeaderName,
    /// The nearest one last. `Err` is for what names no address.
    pub(super) hops: Vec<Result<IpAddr, &'h [u8]>>,
}

impl<'h> Chain<'h> {
    /// `X-Forwarded-For` counts wherever it is there: a proxy that writes it may well pass on a
    /// `Forwarded` that its client has made up.
    pub(super) fn of(headers: &'h HeaderMap) -> Self {
        if headers.contains_key(FOR) {
            let lines = headers.get_all(FOR).iter();
            let elements = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
            return Self {
                field: FOR,
                hops: elements.filter_map(|hop| named(hop, address)).collect(),
            };
        }
        let lines = headers.get_all(header::FORWARDED).iter();
        let elements = lines.flat_map(|line| {
            let line = line.as_bytes();
            // A client can send half of a quoted string, to which its proxy adds a whole element:
            // from the right, that one can still be told.
            let parts = unquoted_parts(line, b',');
            parts.unwrap_or_else(|| line.split(|byte| *byte == b',').collect())
        });
        Self {
            field: header::FORWARDED,
            hops: elements
                .filter_map(|hop| named(hop, |element| address(node(element)?)))
                .collect(),
        }
    }
}

/// The hops that one field names.
pub(super) fn hops(line: &HeaderValue) -> impl DoubleEndedIterator<Item = Result<IpAddr, &[u8]>> {
    let elements = line.as_bytes().split(|byte| *byte == b',');
    elements.filter_map(|hop| named(hop, address))
}

/// What an element of a list names. Lists may have empty elements (RFC 9110 §5.6.1.2), which are no
/// hops.
fn named<'h>(
    element: &'h [u8],
    read: impl Fn(&'h [u8]) -> Option<IpAddr>,
) -> Option<Result<IpAddr, &'h [u8]>> {
    let element = element.trim_ascii();
    (!element.is_empty()).then(|| read(element).ok_or(element))
}

/// An address, with or without port: `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
pub(super) fn address(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?;
    if let Ok(address) = node.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = if let Some(literal) = node.strip_prefix('[') {
        let (address, port) = literal.split_once(']')?;
        (address.parse::<Ipv6Addr>().ok()?.to_canonical(), port)
    } else {
        let at = node.find(':')?;
        let address = node[..at].parse::<Ipv4Addr>().ok()?;
        (address.into(), &node[at..])
    };
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    is_port.then_some(address)
}

/// Digits, or what stands for a port that a proxy does not tell (RFC 7239 §6.3).
fn is_port(text: &str) -> bool {
    let is_hidden = |hidden: &str| {
        let mut bytes = hidden.bytes();
        !hidden.is_empty()
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    text.strip_prefix('_').is_some_and(is_hidden)
        || (text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

/// The value of the one `for` of an element of `Forwarded`. One pair that is malformed spoils the
/// element: it may be the end of a string that a client made up.
fn node(element: &[u8]) -> Option<&[u8]> {
    let mut node = None;
    for pair in unquoted_parts(element, b';')? {
        let pair = pair.trim_ascii();
        if pair.is_empty() {
            continue;
        }
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..at], value(&pair[at + 1..])?);
        if name.eq_ignore_ascii_case(b"for") && node.replace(value).is_some() {
            return None;
        }
    }
    node
}

/// A token or the content of a quoted string. Addresses need no quoted pairs; colons and brackets
/// need quotes, which some proxies leave out.
fn value(text: &[u8]) -> Option<&[u8]> {
    if let [b'"', content @ .., b'"'] = text {
        let is_plain = |byte: &u8| !b"\"\\".contains(byte);
        return content.iter().all(is_plain).then_some(content);
    }
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\(),;<=>?@{}".contains(byte);
    (!text.is_empty() && text.iter().all(is_plain)).then_some(text)
}

/// The parts of `text` between marks outside of quoted strings; `None` if a string does not end.
fn unquoted_parts(text: &[u8], mark: u8) -> Option<Vec<&[u8]>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if *byte == mark && !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The hops, joined; a `?` for each that names no address.
    fn hops(fields: &[(&'static str, &[u8])]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let hops = Chain::of(&headers).hops;
        let hops = hops.iter().map(|hop| match hop {
            Ok(address) => address.to_string(),
            Err(_) => "?".to_owned(),
        });
        hops.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_address_comes_with_and_without_port_and_brackets() {
        for (node, address) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:51234", Some("192.0.2.1")),
            ("192.0.2.1:0", Some("192.0.2.1")),
            ("192.0.2.1:_hidden", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("[::ffff:192.0.2.1]:80", Some("192.0.2.1")),
            ("2001:DB8:0::1", Some("2001:db8::1")),
            ("", None),
            ("unknown", None),
            ("_hidden", None),
            ("192.0.2.1:", None),
            ("192.0.2.1:65536", None),
            ("192.0.2.1:80:80", None),
            ("192.0.2.1:+80", None),
            ("192.0.2.1:_", None),
            ("192.0.2.1 80", None),
            ("192.0.2.01", None),
            ("192.0.2.256", None),
            ("192.0.2", None),
            ("192.0.2.0/24", None),
            ("[192.0.2.1]:80", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]443", None),
            ("[2001:db8::1]]", None),
            ("2001:db8::1]", None),
            ("[]", None),
            ("fe80::1%eth0", None),
            ("\"192.0.2.1\"", None),
            ("localhost:80", None),
            ("\u{664}.0.2.1", None),
        ] {
            let read = super::address(node.as_bytes());
            assert_eq!(
                read.map(|read| read.to_string()).as_deref(),
                address,
                "{node}"
            );
        }
    }

    #[test]
    fn x_forwarded_for_is_a_list_with_empty_elements() {
        let name = "x-forwarded-for";
        for (lines, expected) in [
            (&[&b"192.0.2.1, "[..]][..], "192.0.2.1"),
            (&[b",192.0.2.1,, 192.0.2.2:80\t,"], "192.0.2.1 192.0.2.2"),
            (
                &[b"192.0.2.1", b"", b"[2001:db8::1]:80"],
                "192.0.2.1 2001:db8::1",
            ),
            (&[b"192.0.2.1", b"\xff, 192.0.2.2"], "192.0.2.1 ? 192.0.2.2"),
            (&[b"192.0.2.1 192.0.2.2"], "?"),
            (&[b""], ""),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| (name, *line)).collect();
            assert_eq!(hops(&lines), expected, "{lines:?}");
        }
        let both = [("forwarded", &b"for=192.0.2.9"[..]), (name, b"192.0.2.1")];
        assert_eq!(hops(&both), "192.0.2.1");
        let empty = [("forwarded", &b"for=192.0.2.9"[..]), (name, b"")];
        assert_eq!(hops(&empty), "", "it is there, and names nobody");
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        for (line, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            (
                "for=192.0.2.43, for=198.51.100.17",
                "192.0.2.43 198.51.100.17",
            ),
            (
                "for=\"192.0.2.43:80\";;host=\"a,b;for=x\", , ",
                "192.0.2.43",
            ),
            ("host=\"a\\\",for=192.0.2.1\";for=192.0.2.2", "?"), // quoted pairs are nobody's here
            ("for=[2001:db8::1]:80", "2001:db8::1"),
            ("by=_proxy;FOR=192.0.2.1 ; proto=https", "192.0.2.1"),
            ("for=unknown, for=_SEVKISEK", "? ?"),
            ("proto=https", "?"),
            ("for=", "?"),
            ("for", "?"),
            ("for = 192.0.2.1", "?"),
            ("for=192.0.2.1;for=192.0.2.2", "?"),
            ("for=192.0.2.1;x=\"", "?"),
            ("for='192.0.2.1'", "?"),
            ("for=\"192.0.2.1", "?"),
            ("192.0.2.1", "?"),
            // Half of what a client sends does not swallow what its proxy adds.
            ("for=\", for=192.0.2.1;proto=https", "? 192.0.2.1"),
            ("for=\"a, for=\"[2001:db8::1]\"", "? 2001:db8::1"),
            ("for=\", for=192.0.2.1;host=\"x,for=192.0.2.9;y=\"", "? ? ?"),
        ] {
            assert_eq!(hops(&[("forwarded", line.as_bytes())]), expected, "{line}");
        }
    }
}
