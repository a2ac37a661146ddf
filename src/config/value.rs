//! Single values: texts, durations, sizes, addresses. Each parser says what it expected.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderValue, Method};
use ipnet::IpNet;
use rustls::pki_types::ServerName;
use toml::de::DeValue;
use tracing_subscriber::filter::Targets;

use super::section::kind;
use crate::listener::AuthAddress;
use crate::request::{Authority, Host};
use crate::source_text::Fault;
use crate::source_text::nearest;
use crate::upstream::{Address, Fingerprint};

/// Milliseconds.
const DURATIONS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60 * 1000),
    ("h", 3600 * 1000),
    ("d", 86400 * 1000),
];

/// Bytes.
const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Far beyond any use, and far below where adding to a point in time overflows.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

/// Text that may be empty.
pub(super) fn any_text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Fault> {
    let text = value.as_str().ok_or_else(|| {
        Fault::new(format!("expected text, not {}", kind(value))).help("text stands in quotes")
    })?;
    if text.chars().any(char::is_control) {
        return Err(Fault::new("a control character or line break in the text"));
    }
    Ok(text)
}

/// Text that is not empty; nothing in the file may hold a control character.
pub(super) fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Fault> {
    match any_text(value)? {
        "" => Err(Fault::new("the text is empty").help("leave the key out, or fill it")),
        text => Ok(text),
    }
}

pub(super) fn string(value: &DeValue<'_>) -> Result<String, Fault> {
    text(value).map(str::to_owned)
}

pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, Fault> {
    let text = text(value)?;
    if text.contains("-----BEGIN ") {
        // Paths are shown and logged, and this may be a key.
        return Err(Fault::new("this is PEM, not the path of a file")
            .help("put it into a file that nobody else can read, and write its path here"));
    }
    Ok(PathBuf::from(text))
}

pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Fault> {
    value.as_bool().ok_or_else(|| {
        Fault::new(format!("expected true or false, not {}", kind(value)))
            .help("write true or false, without quotes")
    })
}

/// A whole number from one up.
pub(super) fn count<T: TryFrom<u64>>(value: &DeValue<'_>) -> Result<T, Fault> {
    let integer = value.as_integer().ok_or_else(|| {
        Fault::new(format!("expected a whole number, not {}", kind(value)))
            .help("write digits only, without quotes")
    })?;
    let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
    let number = number.filter(|&number| number > 0);
    number.and_then(|n| T::try_from(n).ok()).ok_or_else(|| {
        Fault::new(format!("{} is out of range", integer.as_str())).help("the smallest value is 1")
    })
}

/// The same, and zero.
pub(super) fn count_or_none(value: &DeValue<'_>) -> Result<usize, Fault> {
    if value
        .as_integer()
        .is_some_and(|integer| integer.as_str() == "0")
    {
        return Ok(0);
    }
    count(value).map_err(|fault| fault.help("write a whole number, without quotes; 0 is none"))
}

/// Of TCP.
pub(super) fn port(value: &DeValue<'_>) -> Result<u16, Fault> {
    count(value).map_err(|fault| fault.help("write a number from 1 to 65535, without quotes"))
}

/// `90s`, `15m`, `12h`, `30d`, `500ms`; zero too.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, Fault> {
    let millis = quantity(value, "a duration", ("30s", "s"), &DURATIONS)?;
    let duration = Duration::from_millis(millis);
    if duration > LONGEST {
        return Err(Fault::new("the duration is longer than ten years"));
    }
    Ok(duration)
}

/// The same of a command; an error is a sentence.
pub(crate) fn duration_of(text: &str) -> Result<Duration, String> {
    duration(&DeValue::String(text.into())).map_err(Fault::sentence)
}

/// A duration for whoever counts whole seconds; zero too.
pub(super) fn seconds(value: &DeValue<'_>) -> Result<Duration, Fault> {
    let duration = duration(value)?;
    if duration.subsec_nanos() > 0 {
        return Err(Fault::new("this counts in whole seconds").help("write \"1s\" or more"));
    }
    Ok(duration)
}

/// A duration above zero, where zero would refuse or end everything at once.
pub(super) fn period(value: &DeValue<'_>) -> Result<Duration, Fault> {
    match duration(value)? {
        Duration::ZERO => Err(Fault::new("zero would end everything at once")),
        period => Ok(period),
    }
}

/// `64KiB`, `10MB`; zero too.
pub(super) fn any_size(value: &DeValue<'_>) -> Result<usize, Fault> {
    let bytes = quantity(value, "a size", ("64KiB", "B"), &SIZES)?;
    usize::try_from(bytes).map_err(|_| Fault::new("the size is too large"))
}

/// A size above zero, where zero would let nothing through.
pub(super) fn size(value: &DeValue<'_>) -> Result<usize, Fault> {
    match any_size(value)? {
        0 => Err(Fault::new("a size of zero lets nothing through")),
        size => Ok(size),
    }
}

fn quantity(
    value: &DeValue<'_>,
    what: &str,
    (example, bare_unit): (&str, &str),
    units: &[(&str, u64)],
) -> Result<u64, Fault> {
    let written = match value {
        DeValue::Integer(bare) if bare.radix() == 10 => bare.as_str(),
        DeValue::Float(bare) => bare.as_str(),
        other => text(other)?,
    };
    let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
    let names = format!("the units are {}", names.join(", "));
    let end = written.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = written.split_at(end.unwrap_or(written.len()));
    if unit.is_empty() {
        return Err(Fault::new(format!("{what} needs a unit")).help(format!(
            "write \"{number}{bare_unit}\" if that is what you mean; {names}"
        )));
    }
    if number.is_empty() || unit.starts_with(['.', ',', '_']) {
        return Err(
            Fault::new(format!("`{written}` is not {what}")).help(format!(
                "write a whole number and its unit, as in \"{example}\"; {names}"
            )),
        );
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(Fault::new(format!("`{unit}` is no unit of {what}"))
            .help(format!("{names}, right behind the number")));
    };
    let product = (number.parse().ok()).and_then(|number: u64| number.checked_mul(*factor));
    product.ok_or_else(|| Fault::new(format!("`{written}` is too large")))
}

/// An address to listen on.
pub(super) fn socket_address(value: &DeValue<'_>) -> Result<SocketAddr, Fault> {
    let written = text(value)?;
    written.parse().map_err(|_| {
        let fault = Fault::new(format!("`{written}` is not an IP address with a port"));
        let bare = written.trim_start_matches('[').trim_end_matches(']');
        match (written.rsplit_once(':'), bare.parse::<IpAddr>()) {
            (_, Ok(IpAddr::V4(v4))) => fault.help(format!("write \"{v4}:443\"")),
            (_, Ok(IpAddr::V6(v6))) => fault.help(format!("write \"[{v6}]:443\"")),
            (Some(("" | "*", port)), _) => fault.help(format!(
                "write \"[::]:{port}\" for every address, IPv4 and IPv6"
            )),
            (Some(("localhost", port)), _) => fault.help(format!("write \"127.0.0.1:{port}\"")),
            _ => fault.help("write it as in \"[::]:443\" or \"127.0.0.1:8443\""),
        }
    })
}

/// Where proxies ask: an address, or `unix:` and the path of a socket.
pub(super) fn auth_address(value: &DeValue<'_>, folder: &Path) -> Result<AuthAddress, Fault> {
    match text(value)?.strip_prefix("unix:") {
        Some("") => Err(Fault::new("the path of the socket is missing")
            .help("write \"unix:/run/vestibule/auth.sock\"")),
        Some(path) => Ok(AuthAddress::Unix(folder.join(path))),
        None => socket_address(value).map(AuthAddress::Tcp),
    }
}

/// A network, or one address.
pub(super) fn network(value: &DeValue<'_>) -> Result<IpNet, Fault> {
    let written = text(value)?;
    if let Ok(address) = written.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = written.parse().map_err(|_| {
        Fault::new(format!("`{written}` is neither a network nor an address"))
            .help("write it as in \"10.0.0.0/8\", \"fd00::/8\" or \"192.0.2.7\"")
    })?;
    // A slip in the length would trust more than was meant.
    match network.trunc() {
        whole if whole == network => Ok(network),
        whole => Err(
            Fault::new(format!("`{written}` has bits set behind its prefix")).help(format!(
                "write \"{whole}\" for the network, \"{}\" for the one address",
                network.addr()
            )),
        ),
    }
}

/// A host name without a port.
pub(super) fn host(value: &DeValue<'_>) -> Result<Host, Fault> {
    let written = text(value)?;
    Host::parse(written).ok_or_else(|| {
        let fault = Fault::new(format!("`{written}` is not a host name"));
        let bare = written.split_once("://").map_or(written, |(_, rest)| rest);
        let bare = bare.split(['/', ':']).next().unwrap_or_default();
        match Host::parse(bare) {
            Some(host) => fault.help(format!(
                "write \"{}\", without scheme, port or path",
                host.as_str()
            )),
            None if written.contains('*') => fault.help("there are no wildcards: name each host"),
            None if !written.is_ascii() => {
                fault.help("write it as DNS has it, in the form that begins with xn--")
            }
            None => fault.help("write it as in \"wiki.example.org\""),
        }
    })
}

/// A host name that may have a port, as `Host` carries it.
pub(super) fn host_with_port(value: &DeValue<'_>) -> Result<Authority, Fault> {
    let written = text(value)?;
    let header = HeaderValue::from_str(written).ok();
    let parsed = header.and_then(|header| Authority::parse(&header).ok());
    parsed.ok_or_else(|| {
        Fault::new(format!("`{written}` is not a host with an optional port"))
            .help("write it as in \"wiki.internal\" or \"wiki.internal:8080\"")
    })
}

/// A name that a certificate can have.
pub(super) fn server_name(value: &DeValue<'_>) -> Result<String, Fault> {
    let name = host(value)?;
    let bare = name.as_str().trim_matches(['[', ']']);
    match ServerName::try_from(bare) {
        Ok(_) => Ok(bare.to_owned()),
        Err(_) => Err(Fault::new(format!("no certificate can name `{bare}`"))
            .help("write the name that the certificate of the app has")),
    }
}

/// Of a certificate.
pub(super) fn fingerprint(value: &DeValue<'_>) -> Result<Fingerprint, Fault> {
    let written = text(value)?;
    Fingerprint::parse(written).ok_or_else(|| {
        Fault::new(format!(
            "`{written}` is not the fingerprint of a certificate"
        ))
        .help(
            "write \"sha256:\" and 64 hexadecimal digits, as `openssl x509 -noout -fingerprint \
             -sha256` prints them; `vestibule check` says which one the app has",
        )
    })
}

/// A method, in capitals as it is sent.
pub(super) fn method(value: &DeValue<'_>) -> Result<Method, Fault> {
    let written = text(value)?;
    let method = Method::from_bytes(written.as_bytes())
        .map_err(|_| Fault::new(format!("`{written}` is not a method")))?;
    let capitals = written.to_ascii_uppercase();
    if capitals != written {
        return Err(Fault::new("methods are case-sensitive").help(format!("write \"{capitals}\"")));
    }
    if written == "*" {
        return Err(Fault::new("there are no wildcards: each method is named")
            .help("name the methods, or leave the key out for every registered one"));
    }
    if written == "PRI" {
        return Err(Fault::new("no request has the method PRI").help("leave it out"));
    }
    if [Method::CONNECT, Method::TRACE].contains(&method) {
        return Err(Fault::new(format!("{method} is never let in")).help("leave it out"));
    }
    Ok(method)
}

/// What stands behind `unix:`.
pub(super) fn socket_path(path: &str) -> Result<PathBuf, Fault> {
    let plain = path.trim_start_matches('/');
    match path.len() - plain.len() {
        1 if !plain.is_empty() => Ok(PathBuf::from(path)),
        _ => Err(Fault::new("a Unix socket is named by its absolute path")
            .help(format!("write \"unix:/{plain}\""))),
    }
}

/// An address of an application.
pub(super) fn upstream(value: &DeValue<'_>) -> Result<Address, Fault> {
    let written = text(value)?;
    if let Some(path) = written.strip_prefix("unix:") {
        return socket_path(path).map(Address::Unix);
    }
    let (scheme, rest) = written.split_once("://").ok_or_else(|| {
        Fault::new("an upstream begins with its scheme").help(format!("write \"http://{written}\""))
    })?;
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => {
            return Err(
                Fault::new(format!("`{scheme}` is not a scheme for an upstream"))
                    .help("the schemes are http://, https:// and unix:/"),
            );
        }
    };
    let name = &rest[..rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())];
    if name.contains('@') {
        return Err(Fault::new("an upstream has no user or password")
            .help("leave out everything up to the @"));
    }
    if name.len() < rest.len() {
        return Err(Fault::new("an upstream has no path").help(format!(
            "write \"{scheme}://{name}\": the path of each request is kept"
        )));
    }
    let (host, port) = authority(name, default_port).ok_or_else(|| {
        Fault::new(format!("`{name}` is not a host with an optional port"))
            .help(format!("write it as in \"{scheme}://127.0.0.1:3000\""))
    })?;
    let host = host.as_str().trim_matches(['[', ']']).to_owned();
    Ok(match scheme {
        "https" => Address::Https { host, port },
        _ => Address::Http { host, port },
    })
}

/// An origin as browsers send it: lower case, without the scheme's own port (RFC 6454 §6.2).
pub(super) fn origin(value: &DeValue<'_>) -> Result<String, Fault> {
    let written = text(value)?;
    let parsed = written.split_once("://").and_then(|(scheme, rest)| {
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let (host, port) = authority(rest, default_port)?;
        let host = host.as_str();
        Some(if port == default_port {
            format!("{scheme}://{host}")
        } else {
            format!("{scheme}://{host}:{port}")
        })
    });
    parsed.ok_or_else(|| {
        Fault::new(format!("`{written}` is not an origin")).help(
            "write scheme, host and port if it has one, as in \"https://wiki.example.org\": \
             no path, no wildcard",
        )
    })
}

/// `host` or `host:port`.
pub(crate) fn authority(text: &str, default_port: u16) -> Option<(Host, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok()?,
        Some(_) => return None,
        None => default_port,
    };
    Host::parse(host)
        .filter(|_| port != 0)
        .map(|host| (host, port))
}

/// A CSS colour in hexadecimal: it is written into a style sheet, so nothing else may pass.
pub(super) fn colour(value: &DeValue<'_>) -> Result<String, Fault> {
    let written = text(value)?;
    let digits = written.strip_prefix('#').unwrap_or_default();
    if [3, 6].contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(written.to_owned());
    }
    Err(Fault::new(format!("`{written}` is not a colour"))
        .help("write it as in \"#2563eb\" or \"#26e\""))
}

/// One word of a few.
pub(super) fn word<T: Clone>(value: &DeValue<'_>, words: &[(&str, T)]) -> Result<T, Fault> {
    let written = text(value)?;
    if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == written) {
        return Ok(meaning.clone());
    }
    let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    let help = match nearest(written, names.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("write \"{}\"", names.join("\" or \"")),
    };
    Err(Fault::new(format!("`{written}` is not known here")).help(help))
}

/// A level, or a list as in `info,vestibule=debug`.
pub(super) fn log_level(value: &DeValue<'_>) -> Result<String, Fault> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let written = text(value)?;
    for part in written.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        // Taken for a target, a mistyped level would switch everything else off.
        if !LEVELS.contains(&level) {
            let help = match nearest(level, LEVELS) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("the levels are {}", LEVELS.join(", ")),
            };
            return Err(Fault::new(format!("`{level}` is not a level")).help(help));
        }
    }
    match written.parse::<Targets>() {
        Ok(_) => Ok(written.to_owned()),
        Err(error) => Err(Fault::new(error.to_string()).help("write it as in \"info,hyper=warn\"")),
    }
}
