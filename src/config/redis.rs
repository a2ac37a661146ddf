//! `[session.redis]`: where the nodes keep what they share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::file::{credential, credential_name};
use super::section::Section;
use super::value::{self, authority};
use crate::redis::{
    Address, KeyFault, Login, SealKeys, SecretSource, Sentinel, Servers, Settings, TlsFiles,
    make_key,
};
use crate::secret::Secret;
use crate::source_text::Fault;

/// Of the store, and of the sentinels that watch it.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

const SERVERS: [&str; 3] = ["url", "sentinel", "cluster"];

/// Longer ones take more memory in the store than sessions do.
const LONGEST_PREFIX: usize = 64;

/// The shortest and the longest.
const TIMEOUT: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(30)];
const STALE_FOR: [Duration; 2] = [Duration::from_secs(1), Duration::from_hours(1)];

/// Of sessions that nodes share: a use takes a part of it until the others know.
const SHORTEST_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Of `[session]`: nobody is to lose a session by a use that the others cannot know of in time.
pub(super) fn check_idle_timeout(session: &mut Section<'_>, idle_timeout: Duration) {
    if idle_timeout < SHORTEST_IDLE_TIMEOUT {
        let fault = Fault::new("nodes do not tell each other of a use of a session that soon");
        session.refuse("idle_timeout", fault.help("write \"1s\" or more"));
    }
}

/// Reads the section; `None` where it does not say where the servers are, or what seals the values.
/// `state` is the file that the disk store would have.
pub(super) fn read(section: &mut Section<'_>, folder: &Path, state: PathBuf) -> Option<Settings> {
    let (servers, key) = (servers(section, folder), key(section, folder));
    let login = login(section, folder);
    let tls = tls(section, folder, servers.as_ref());
    let prefix = section.get("prefix", prefix);
    let timeout = section.get("timeout", |value| {
        within(
            value,
            TIMEOUT,
            "visitors wait for that long: write \"50ms\" to \"30s\"",
        )
    });
    let stale_for = section.get("stale_for", |value| {
        within(
            value,
            STALE_FOR,
            "sessions that were ended elsewhere go on for that long: write \"1s\" to \"1h\"",
        )
    });
    let wait_replicas = section.get("wait_replicas", value::count_or_none);
    Some(Settings {
        servers: servers?,
        login,
        tls,
        prefix: prefix.unwrap_or_else(|| "vestibule:".to_owned()),
        timeout: timeout.unwrap_or(Duration::from_secs(1)),
        stale_for: stale_for.unwrap_or(Duration::from_secs(30)),
        wait_replicas,
        key: key?,
        state,
    })
}

fn within(
    value: &DeValue<'_>,
    [shortest, longest]: [Duration; 2],
    help: &str,
) -> Result<Duration, Fault> {
    match value::duration(value)? {
        short if short < shortest => Err(Fault::new("this is too short").help(help)),
        long if long > longest => Err(Fault::new("this is too long").help(help)),
        duration => Ok(duration),
    }
}

fn servers(section: &mut Section<'_>, folder: &Path) -> Option<Servers> {
    let url = section.get("url", |value| address(value, PORT));
    let sentinel = sentinel(section, folder);
    let fix = "name at least one node";
    let cluster = section.filled_list("cluster", fix, |value| tcp_address(value, PORT));
    same_scheme(section, "cluster", cluster.as_deref());
    let given: Vec<_> = (SERVERS.into_iter())
        .filter(|key| section.raw(key).is_some())
        .collect();
    match given[..] {
        [] => {
            let fault = Fault::new("it does not say where the servers are");
            section.refuse_all(fault.help(
                "write url = \"redis://127.0.0.1:6379\", or `sentinel` or `cluster` for several \
                 servers",
            ));
        }
        [_] => {}
        [first, .., last] => {
            let fault = Fault::new(format!("`{first}` says where the servers are already"));
            section.refuse(last, fault.help("leave one of the two keys out"));
        }
    }
    let url = url.map(Servers::One);
    url.or(sentinel.map(Servers::Sentinel))
        .or(cluster.map(Servers::Cluster))
}

fn sentinel(section: &mut Section<'_>, folder: &Path) -> Option<Sentinel> {
    section.raw("sentinel")?;
    let mut table = section.table("sentinel");
    let name = table.require("name", value::string);
    if table.raw("nodes").is_none() {
        table.require("nodes", value::string);
    }
    let fix = "name the sentinels, three or more";
    let nodes = table.filled_list("nodes", fix, |value| tcp_address(value, SENTINEL_PORT));
    same_scheme(&table, "nodes", nodes.as_deref());
    let login = login(&mut table, folder);
    Some(Sentinel {
        name: name?,
        nodes: nodes.filter(|nodes| !nodes.is_empty())?,
        login,
    })
}

/// What one says of another is no scheme: all of them speak TLS, or none.
fn same_scheme(section: &Section<'_>, key: &str, nodes: Option<&[Address]>) {
    let nodes = nodes.unwrap_or_default();
    if nodes.iter().any(Address::is_tls) && !nodes.iter().all(Address::is_tls) {
        let fault = Fault::new("some of these speak TLS, and others do not");
        section.refuse(
            key,
            fault.help("write rediss:// for all of them, or redis://"),
        );
    }
}

fn login(section: &mut Section<'_>, folder: &Path) -> Login {
    let username = section.get("username", value::string);
    let password = section.get("password", |value| {
        value::string(value).map_err(Fault::secret)
    });
    let file = file(section, "password_file", folder);
    if password.is_some() && file.is_some() {
        both(section, "password", "password_file");
    }
    let is_given = section.raw("password").is_some() || section.raw("password_file").is_some();
    if username.is_some() && !is_given {
        let fault = Fault::new("a user signs in by a password");
        section.refuse("username", fault.help("write `password_file` as well"));
    }
    let given = password.map(|password| SecretSource::Given(Secret::new(password)));
    Login {
        username,
        password: given.or(file),
    }
}

fn both(section: &Section<'_>, key: &str, file: &str) {
    let fault = Fault::new(format!("`{key}` says it already"));
    section.refuse(file, fault.help("leave one of the two keys out"));
}

fn tls(section: &mut Section<'_>, folder: &Path, servers: Option<&Servers>) -> TlsFiles {
    let mut get = |key| {
        let path = section.get(key, value::path)?;
        Some(credential(&path).unwrap_or_else(|| folder.join(&path)))
    };
    let (ca, cert, key) = (get("ca"), get("cert"), get("client_key"));
    for (key, is_given, other) in [
        ("cert", key.is_none(), "client_key"),
        ("client_key", cert.is_none(), "cert"),
    ] {
        if is_given && section.raw(key).is_some() && section.raw(other).is_none() {
            let fault = Fault::new("a certificate is shown with its key");
            section.refuse(key, fault.help(format!("write `{other}` as well")));
        }
    }
    if servers.is_some_and(|servers| !servers.are_tls()) {
        let given = [("ca", &ca), ("cert", &cert), ("client_key", &key)];
        for (key, _) in given.into_iter().filter(|(_, path)| path.is_some()) {
            let fault = Fault::new("no server here speaks TLS");
            section.refuse(key, fault.help("write rediss:// in front of its address"));
        }
    }
    TlsFiles {
        ca,
        client: cert.zip(key),
    }
}

/// A key in the file itself, or several, or the name of a file with them.
fn key(section: &mut Section<'_>, folder: &Path) -> Option<SecretSource> {
    let is_list = (section.raw("key")).is_some_and(|value| value.get_ref().is_array());
    let given = if is_list {
        let keys = section.filled_list("key", "leave it out for `key_file`", |value| {
            one_key(value).map_err(Fault::secret)
        });
        keys.map(|keys| keys.join("\n"))
    } else {
        section.get("key", |value| one_key(value).map_err(Fault::secret))
    };
    let file = file(section, "key_file", folder);
    match (
        section.raw("key").is_some(),
        section.raw("key_file").is_some(),
    ) {
        (true, true) => both(section, "key", "key_file"),
        (false, false) => {
            let fault =
                Fault::new("`key_file` is missing: what is kept there is sealed with a key");
            let make = make_key(&folder.join("redis.key"));
            section.refuse_all(fault.help(format!(
                "make it once with {make}, copy it to all nodes, and write \
                 key_file = \"redis.key\""
            )));
        }
        _ => {}
    }
    given
        .map(|keys| SecretSource::Given(Secret::new(keys)))
        .or(file)
}

fn one_key(value: &DeValue<'_>) -> Result<String, Fault> {
    let key = value::string(value)?;
    let fault = match SealKeys::parse(&key) {
        Ok(_) => return Ok(key),
        Err(KeyFault::Length(_, bytes)) => format!("this key has {bytes} bytes instead of 32"),
        Err(_) => "this is no key: it is neither Base64 nor hexadecimal".to_owned(),
    };
    Err(Fault::new(fault).help(
        "write what `openssl rand -base64 32` prints, the same on all nodes; better, put it into a \
         file for `key_file`",
    ))
}

fn file(section: &mut Section<'_>, key: &'static str, folder: &Path) -> Option<SecretSource> {
    let path = section.get(key, value::path)?;
    Some(SecretSource::File {
        may_be_credential: credential_name(&path).is_some() && credential(&path).is_none(),
        path: credential(&path).unwrap_or_else(|| folder.join(&path)),
    })
}

fn prefix(value: &DeValue<'_>) -> Result<String, Fault> {
    let prefix = value::text(value)?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"{}*?[]\\".contains(&byte);
    if prefix.len() > LONGEST_PREFIX || !prefix.bytes().all(is_plain) {
        let fault = Fault::new("keys cannot begin with this");
        return Err(fault.help(format!(
            "write at most {LONGEST_PREFIX} letters, digits and signs, and none of {{ }} * ? [ ] \\"
        )));
    }
    Ok(prefix.to_owned())
}

/// An address of a server.
fn address(value: &DeValue<'_>, default_port: u16) -> Result<Address, Fault> {
    let written = value::text(value)?;
    let (scheme, rest) = match (written.strip_prefix("unix:"), written.split_once("://")) {
        (Some(path), _) => return value::socket_path(path).map(Address::Unix),
        (None, Some(parts)) => parts,
        (None, None) => {
            let fault = Fault::new("an address begins with its scheme").secret();
            return Err(fault.help("write redis:// in front of it, or rediss:// for TLS"));
        }
    };
    let tls = match scheme {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => {
            let fault = Fault::new(format!("`{scheme}` is not a scheme for Redis or Valkey"));
            return Err(fault.help(
                "the schemes are redis://, rediss:// (with TLS), valkey://, valkeys:// (with TLS) and unix:/",
            ));
        }
    };
    if rest.contains('@') {
        let fault = Fault::new("an address here has no user or password").secret();
        return Err(fault.help("write them in `username` and `password_file`"));
    }
    let name = &rest[..rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())];
    if !["", "/", "/0"].contains(&&rest[name.len()..]) {
        let fault = Fault::new("numbered databases and options are not used");
        return Err(fault.help(format!(
            "write \"{scheme}://{name}\"; `prefix` keeps several services on one server apart"
        )));
    }
    let (host, port) = authority(name, default_port).ok_or_else(|| {
        let fault = Fault::new(format!("`{name}` is not a host with an optional port"));
        fault.help(format!(
            "write it as in \"{scheme}://10.0.0.5:{default_port}\""
        ))
    })?;
    Ok(Address::Tcp {
        host: host.as_str().trim_matches(['[', ']']).to_owned(),
        port,
        tls,
    })
}

/// One of several, which name each other by host and port.
fn tcp_address(value: &DeValue<'_>, default_port: u16) -> Result<Address, Fault> {
    match address(value, default_port)? {
        Address::Unix(_) => Err(Fault::new("several servers do not have one socket").help(
            format!("write it as in \"redis://10.0.0.5:{default_port}\""),
        )),
        address @ Address::Tcp { .. } => Ok(address),
    }
}
