//! `[login] after_logout`: where a sign-out leads.

use http::HeaderValue;

use super::section::Section;
use super::value;
use crate::listener;
use crate::portal::return_to::ReturnTo;
use crate::proxy::AppSettings;
use crate::request::Host;
use crate::source_text::{Fault, nearest};

const FORM: &str = "write a path, as in \"/goodbye\", or an address, as in \
                    \"https://wiki.example.org/goodbye\"";

/// No `Location` needs to be longer.
const LONGEST: usize = 2048;

/// As it stands in `Location`: a path on the host of the sign-out, or an address on the host of an
/// app, and nothing else (SEC-62). `""` is nowhere.
pub(super) fn read(
    login: &mut Section<'_>,
    (apps, login_host): (&[AppSettings], Option<&Host>),
    listener: &listener::Settings,
    public_port: Option<u16>,
) -> Option<HeaderValue> {
    let there = login.get("after_logout", |value| match value::any_text(value)? {
        "" => Ok(None),
        path if path.starts_with('/') && login_host.is_some() => {
            let fault = Fault::new("the host of the login has no pages but its own");
            Err(fault
                .help("write an address of an app, as in \"https://wiki.example.org/goodbye\""))
        }
        path if path.starts_with('/') => location("", path).map(Some),
        address => {
            let (host, port, path) = split(address)?;
            is_of_an_app(&host, apps)?;
            is_of_browsers(&host, port, listener, public_port)?;
            let port = port.filter(|port| *port != 443);
            let port = port.map_or_else(String::new, |port| format!(":{port}"));
            location(&format!("https://{}{port}", host.as_str()), path).map(Some)
        }
    });
    there.flatten()
}

/// Host, port if there is one, and path of an `https://` address.
fn split(address: &str) -> Result<(Host, Option<u16>, &str), Fault> {
    let none = || Fault::new(format!("`{address}` is no address")).help(FORM);
    if let Some(rest) = address.strip_prefix("http://") {
        let fault = Fault::new("a sign-out leads to https:// only");
        return Err(fault.help(format!("write \"https://{rest}\"")));
    }
    let rest = address.strip_prefix("https://").ok_or_else(none)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (host, port) = value::authority(authority, 443).ok_or_else(none)?;
    let has_port = authority.contains(':') && !authority.ends_with(']');
    Ok((host, has_port.then_some(port), path))
}

fn is_of_an_app(host: &Host, apps: &[AppSettings]) -> Result<(), Fault> {
    let mut hosts: Vec<_> = apps.iter().flat_map(|app| app.hosts.names()).collect();
    if hosts.contains(&host) {
        return Ok(());
    }
    hosts.dedup();
    let host = host.as_str();
    let fault = Fault::new(format!("no app has the host `{host}`"));
    let names = hosts.iter().map(|host| host.as_str());
    Err(match nearest(host, names.clone()) {
        _ if hosts.is_empty() => {
            fault.help("write a path, as in \"/goodbye\", or give an app this `host`")
        }
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault.help(format!(
            "the hosts are {}",
            names.collect::<Vec<_>>().join(", ")
        )),
    })
}

/// Whether browsers find the apps on this port. Without `public_port`, a mapping may give this
/// server another one than it listens on.
fn is_of_browsers(
    host: &Host,
    port: Option<u16>,
    listener: &listener::Settings,
    public_port: Option<u16>,
) -> Result<(), Fault> {
    let host = host.as_str();
    match (port, public_port) {
        (None, None | Some(443)) => Ok(()),
        (port, Some(public)) if port.unwrap_or(443) == public => Ok(()),
        (_, Some(public)) => {
            let port = if public == 443 {
                String::new()
            } else {
                format!(":{public}")
            };
            let fault = Fault::new(format!(
                "browsers find the apps on port {public} (`public_port`)"
            ));
            Err(fault.help(format!("write \"https://{host}{port}/…\"")))
        }
        (Some(port), None)
            if port == 443 || listener.listen.iter().any(|address| address.port() == port) =>
        {
            Ok(())
        }
        (Some(port), None) => {
            let fault = Fault::new(format!("nothing is known of port {port}"));
            Err(fault.help(format!(
                "set public_port = {port} if browsers use it, or leave it out"
            )))
        }
    }
}

/// An address that begins with `origin`, or a path. A fragment is the browser's alone.
fn location(origin: &str, rest: &str) -> Result<HeaderValue, Fault> {
    let (target, fragment) = match rest.split_once('#') {
        Some((target, fragment)) => (target, Some(fragment)),
        None => (rest, None),
    };
    let target = match target.bytes().next() {
        Some(b'/') => target.to_owned(),
        _ => format!("/{target}"),
    };
    let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !visible(rest) {
        return Err(Fault::new("an address has visible ASCII characters only")
            .help("write the others percent-encoded, as the address bar copies them"));
    }
    let path = ReturnTo::check(&target, LONGEST);
    let path = path.filter(|path| !path.is_own()).ok_or_else(|| {
        Fault::new(format!("no sign-out can lead to `{origin}{target}`")).help(FORM)
    })?;
    let fragment = fragment.map_or_else(String::new, |fragment| format!("#{fragment}"));
    HeaderValue::try_from(format!("{origin}{}{fragment}", path.as_str()))
        .map_err(|_| Fault::new("this is no address").help(FORM))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    /// What `after_logout` becomes, or what is said of it, with these keys of `[server]`.
    fn read(server: &str, host: &str, written: &str) -> Result<String, String> {
        let text = format!(
            "[server]\nlisten = [\"[::]:8443\"]\n{server}\n[login]\nafter_logout = {written:?}\n\
             [tls]\ncert = \"c\"\nkey = \"k\"\n[[app]]\n{host}\nupstream = \"http://a:1\"\n"
        );
        match Config::parse(&text, Path::new("x.toml")) {
            Ok(config) => Ok(config
                .after_logout
                .map_or_else(String::new, |there| there.to_str().unwrap().to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn sec_62_a_sign_out_leads_to_a_path_or_to_a_configured_host() {
        let host = "host = \"wiki.example.org\"";
        for (server, written, expected) in [
            ("", "", ""),
            ("", "/", "/"),
            ("", "/goodbye?a=1#/b", "/goodbye?a=1#/b"),
            ("", "https://wiki.example.org", "https://wiki.example.org/"),
            (
                "",
                "https://Wiki.Example.Org./a?b",
                "https://wiki.example.org/a?b",
            ),
            (
                "",
                "https://wiki.example.org?b",
                "https://wiki.example.org/?b",
            ),
            (
                "",
                "https://wiki.example.org:443/",
                "https://wiki.example.org/",
            ),
            (
                "",
                "https://wiki.example.org:8443/",
                "https://wiki.example.org:8443/",
            ),
            (
                "public_port = 444",
                "https://wiki.example.org:444/",
                "https://wiki.example.org:444/",
            ),
            (
                "public_port = 443",
                "https://wiki.example.org/a",
                "https://wiki.example.org/a",
            ),
        ] {
            let read = read(server, host, written);
            assert_eq!(read.as_deref(), Ok(expected), "{server} {written}");
        }
    }

    #[test]
    fn sec_62_what_leads_elsewhere_is_refused_in_words() {
        let host = "host = \"wiki.example.org\"";
        for (server, written, said) in [
            ("", "goodbye", "`goodbye` is no address"),
            (
                "",
                "//evil.example/",
                "no sign-out can lead to `//evil.example/`",
            ),
            ("", "/\\evil.example/", "no sign-out can lead to"),
            ("", "/%2fevil.example/", "no sign-out can lead to"),
            ("", "/%09/evil.example/", "no sign-out can lead to"),
            ("", "/a/../goodbye", "no sign-out can lead to"),
            ("", "/.vestibule/logout", "no sign-out can lead to"),
            ("", "/.vestibule/account", "no sign-out can lead to"),
            ("", "/a b", "visible ASCII"),
            ("", "/caf\u{e9}", "visible ASCII"),
            ("", "javascript:alert(1)", "is no address"),
            ("", "HTTPS://wiki.example.org/", "is no address"),
            (
                "",
                "http://wiki.example.org/",
                "write \"https://wiki.example.org/\"",
            ),
            (
                "",
                "https://wiki.exmple.org/",
                "did you mean `wiki.example.org`?",
            ),
            ("", "https://evil.test/", "the hosts are wiki.example.org"),
            (
                "",
                "https://wiki.example.org.evil.test/",
                "no app has the host",
            ),
            ("", "https://wiki.example.org@evil.test/", "is no address"),
            ("", "https://evil.test@wiki.example.org/", "is no address"),
            ("", "https://wiki.example.org\\@evil.test/", "is no address"),
            ("", "https://wiki.example.org:/", "is no address"),
            ("", "https:///a", "is no address"),
            (
                "",
                "https://wiki.example.org:9443/",
                "set public_port = 9443",
            ),
            (
                "public_port = 444",
                "https://wiki.example.org/",
                "write \"https://wiki.example.org:444/",
            ),
            (
                "public_port = 443",
                "https://wiki.example.org:8443/",
                "write \"https://wiki.example.org/",
            ),
        ] {
            let read = read(server, host, written).unwrap_err();
            assert!(read.contains(said), "{server} {written}: {read}");
            assert!(read.contains("x.toml:5:16: [login] after_logout"), "{read}");
            assert!(read.contains("help: "), "{read}");
        }
        let read = read("", "", "https://wiki.example.org/").unwrap_err();
        assert!(read.contains("write a path"), "{read}");
    }
}
