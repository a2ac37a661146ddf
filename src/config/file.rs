//! The sections of the file, key for key, each with its default.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::section::Section;
use super::{Config, Lines, after_logout, app, login_host, login_users, redis, value};
use crate::access::Rules;
use crate::auth::throttle;
use crate::forwarded::TrustedSources;
use crate::identity::token::{self, KeySource};
use crate::listener::AuthAddress;
use crate::load::ConnectionLimits;
use crate::proxy::{AppSettings, Timeouts};
use crate::request::Limits;
use crate::source_text::Fault;
use crate::{admin, listener, pages, session, telemetry, tls};

/// Reads the whole file. The result counts only when no problem was noted on the way.
pub(super) fn read(mut root: Section<'_>, path: &Path) -> Config {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut server = root.table("server");
    let limits = limits(server.table("limits"));
    let mut apps = app::read(&mut root, &limits, folder);
    let mut login = root.table("login");
    let title = login.get("title", value::string);
    app::complete_titles(&mut apps, title.as_deref());
    let listener = listener(&mut server, folder);
    let auth_from = auth_from(&mut server, &listener);
    let acme_challenges = acme_challenges(&mut server, &listener, folder);
    let mut administration = root.table("admin");
    let (mut session_section, mut log_section) = (root.table("session"), root.table("log"));
    let lines = Lines {
        acme_challenges: server.line_of("acme_challenges"),
        audit_file: log_section.line_of("audit_file"),
        auth_from: server.line_of("auth_from"),
        auth_listen: server.line_of("auth_listen"),
        listen: server.line_of("listen"),
        login_host: login.line_of("host"),
        metrics: administration.line_of("metrics"),
        redirect_http: server.line_of("redirect_http"),
        redis: session_section.line_of("redis"),
        session_path: session_section.line_of("path"),
        socket: administration.line_of("socket"),
    };
    let kept_forms = login.get("kept_forms", value::any_size);
    let kept_forms = kept_forms.unwrap_or(64 * 1024 * 1024);
    let mut rules = apps.iter().map(|app| &app.rules);
    if kept_forms == 0 && rules.any(Rules::take_cross_site_posts) {
        let fault = Fault::new("a rule with `cross_site_posts` keeps forms");
        login.refuse("kept_forms", fault.help("leave one of the two keys out"));
    }
    let public_port = server.get("public_port", value::port);
    let session = session(&mut session_section, folder);
    let users = login_users::read(&mut login, &mut session_section, folder);
    let login_host = login_host::read(&mut login, &apps);
    Config {
        acme_challenges,
        after_logout: after_logout::read(
            &mut login,
            (&apps, login_host.as_ref()),
            &listener,
            public_port,
        ),
        admin: admin(&mut administration, folder),
        metrics: metrics(&mut administration, &listener),
        auth_from,
        metrics_hosts: administration
            .list("metrics_hosts", value::host)
            .unwrap_or_default(),
        branding: branding(&mut login, title, &apps, folder),
        apps,
        drain_timeout: server
            .get("drain_timeout", value::duration)
            .unwrap_or(Duration::from_secs(30)),
        kept_forms,
        limits,
        listener,
        lines,
        login_host,
        log: log(&mut log_section, folder),
        path: path.to_owned(),
        proxy_protocol_from: TrustedSources::new(
            server
                .list("proxy_protocol_from", value::network)
                .unwrap_or_default(),
        ),
        public_port,
        identity_keys: identity_keys(&session.backend),
        session,
        throttle: throttle(login.table("throttle")),
        timeouts: timeouts(server.table("timeouts")),
        tls: tls(root.table("tls"), folder),
        trusted_proxies: TrustedSources::new(
            server
                .list("trusted_proxies", value::network)
                .unwrap_or_default(),
        ),
        users,
    }
}

fn listener(server: &mut Section<'_>, folder: &Path) -> listener::Settings {
    let listen = server.filled_list("listen", "write [\"[::]:443\"]", value::socket_address);
    let redirect_http = server.list("redirect_http", value::socket_address);
    let auth = server.list("auth_listen", |value| value::auth_address(value, folder));
    let settings = listener::Settings {
        listen: listen.unwrap_or_else(|| vec![(std::net::Ipv6Addr::UNSPECIFIED, 443).into()]),
        redirect_http: redirect_http.unwrap_or_default(),
        auth: auth.unwrap_or_default(),
        limits: ConnectionLimits {
            max: server
                .get("max_connections", value::count)
                .unwrap_or(10_000),
            max_per_address: server
                .get("max_connections_per_address", value::count)
                .unwrap_or(256),
        },
    };
    let both = (settings.redirect_http.iter())
        .find(|address| address.port() != 0 && settings.listen.contains(address));
    if let Some(address) = both {
        let fault = Fault::new(format!("{address} cannot serve TLS and plain HTTP at once"));
        server.refuse(
            "redirect_http",
            fault.help("write a port of its own, such as 80"),
        );
    }
    settings
}

/// The proxies that may ask: nobody is trusted who is not named, and by a file its mode says who may.
fn auth_from(server: &mut Section<'_>, listener: &listener::Settings) -> TrustedSources {
    let networks = server.list("auth_from", value::network);
    let networks = networks.unwrap_or_default();
    for address in listener.auth.iter().filter_map(AuthAddress::tcp) {
        let visitors = listener.listen.iter().chain(&listener.redirect_http);
        if address.port() != 0 && visitors.into_iter().any(|other| *other == address) {
            let fault = Fault::new(format!("{address} serves visitors already"));
            server.refuse(
                "auth_listen",
                fault.help("write a port of its own, such as 9091"),
            );
        }
        if networks.is_empty() {
            let fault = Fault::new(format!("nobody may ask at {address}"));
            let help = "name the proxies that ask there: auth_from = [\"127.0.0.1\"]";
            server.refuse("auth_listen", fault.help(help));
            break;
        }
    }
    TrustedSources::new(networks)
}

/// Only plain HTTP is asked for them.
fn acme_challenges(
    server: &mut Section<'_>,
    listener: &listener::Settings,
    folder: &Path,
) -> Option<PathBuf> {
    let given = server.get("acme_challenges", value::path)?;
    if listener.redirect_http.is_empty() {
        let fault = Fault::new("certificate authorities ask on plain HTTP, which is not served");
        server.refuse(
            "acme_challenges",
            fault.help("write redirect_http = [\"[::]:80\"] as well"),
        );
    }
    Some(folder.join(given))
}

fn timeouts(mut section: Section<'_>) -> Timeouts {
    let mut seconds =
        |key, default| (section.get(key, value::period)).unwrap_or(Duration::from_secs(default));
    Timeouts {
        handshake: seconds("handshake", 10),
        headers: seconds("headers", 15),
        body_idle: seconds("body_idle", 60),
        keep_alive: seconds("keep_alive", 75),
        write: seconds("write", 60),
    }
}

fn limits(mut section: Section<'_>) -> Limits {
    let default = Limits::default();
    Limits {
        head: section.get("head", value::size).unwrap_or(default.head),
        fields: section
            .get("fields", value::count)
            .unwrap_or(default.fields),
        target: section.get("target", value::size).unwrap_or(default.target),
        cookie: section.get("cookie", value::size).unwrap_or(default.cookie),
        methods: section
            .filled_list("methods", app::METHODS, value::method)
            .unwrap_or(default.methods),
    }
}

fn tls(mut section: Section<'_>, folder: &Path) -> tls::Settings {
    let extra = section.tables("extra");
    let mut certificates = vec![certificate(&mut section, folder)];
    certificates.extend(
        extra
            .into_iter()
            .map(|mut pair| certificate(&mut pair, folder)),
    );
    tls::Settings { certificates }
}

fn certificate(section: &mut Section<'_>, folder: &Path) -> tls::CertificateFiles {
    let mut file = |key| section.require(key, value::path).unwrap_or_default();
    let (cert, key) = (file("cert"), file("key"));
    let place = |path: &Path| credential(path).unwrap_or_else(|| folder.join(path));
    let unseen = |path| credential_name(path).is_some() && credential(path).is_none();
    tls::CertificateFiles {
        line: section.line(),
        may_be_credentials: unseen(&cert) || unseen(&key),
        cert: place(&cert),
        key: place(&key),
    }
}

/// What systemd has read for the service as a credential of this name (`LoadCredential=`), so that
/// the file itself can stay root's. To be asked for every file with a secret that is only read.
pub(super) fn credential(path: &Path) -> Option<PathBuf> {
    let name = credential_name(path)?;
    let given = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(name);
    (given.is_absolute() && given.is_file()).then_some(given)
}

/// Credentials have plain names.
pub(super) fn credential_name(path: &Path) -> Option<&OsStr> {
    let mut components = path.components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(name)), None) => Some(name),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Store {
    Disk,
    Memory,
    Redis,
}

/// What systemd gives the service to write to, or else where the configuration is.
fn state_folder(folder: &Path) -> PathBuf {
    folder_of_systemd("STATE_DIRECTORY").unwrap_or_else(|| folder.to_owned())
}

/// The first of the folders that systemd has made for the service (systemd.exec(5)).
fn folder_of_systemd(variable: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable)?;
    let first = std::env::split_paths(&given).next()?;
    first.is_absolute().then_some(first)
}

fn session(section: &mut Section<'_>, folder: &Path) -> session::Settings {
    let store = section.get("store", |value| {
        value::word(
            value,
            &[
                ("disk", Store::Disk),
                ("memory", Store::Memory),
                ("redis", Store::Redis),
            ],
        )
    });
    let path = section.get("path", value::path);
    let path = state_folder(folder).join(path.unwrap_or_else(|| "sessions.redb".into()));
    let backend = match store {
        Some(Store::Redis) => redis_backend(section, folder, path),
        other => {
            not_in_redis(section);
            match other {
                Some(Store::Memory) => session::Backend::Memory,
                _ => session::Backend::Disk(path),
            }
        }
    };
    let remember_for = section.get("remember_for", value::duration);
    let idle_timeout = section.get("idle_timeout", value::period);
    let lifetime = section.get("lifetime", value::period);
    let settings = session::Settings {
        backend,
        idle_timeout: idle_timeout.unwrap_or(Duration::from_mins(30)),
        lifetime: lifetime.unwrap_or(Duration::from_hours(12)),
        remember_for: remember_for.unwrap_or_default(),
        max_per_user: section.get("max_per_user", value::count).unwrap_or(20),
        max_sessions: section
            .get("max_sessions", value::count)
            .unwrap_or(1_000_000),
    };
    if settings.idle_timeout > settings.lifetime {
        // The default of the other key may be the one that is exceeded.
        let (key, other) = match idle_timeout {
            Some(_) => ("idle_timeout", "longer than `lifetime`"),
            None => (
                "lifetime",
                "shorter than `idle_timeout`, which is \"30m\" by default",
            ),
        };
        let fault = Fault::new(format!("this is {other}"));
        section.refuse(
            key,
            fault.help("the idle timeout may be as long as the lifetime at most"),
        );
    }
    if settings.backend.shared().is_some() {
        redis::check_idle_timeout(section, settings.idle_timeout);
    }
    if !settings.remember_for.is_zero() && settings.remember_for < settings.lifetime {
        let fault = Fault::new("this is shorter than `lifetime`, which everybody gets");
        let help = "write the longer time that \"stay signed in\" is to last, or \"0s\"";
        section.refuse("remember_for", fault.help(help));
    }
    settings
}

/// Memory stands in for what is wrong: nothing is started then.
fn redis_backend(section: &mut Section<'_>, folder: &Path, path: PathBuf) -> session::Backend {
    if !cfg!(feature = "redis") {
        let fault = Fault::new("this build of Vestibule cannot keep sessions in Redis");
        let help = "build it with the feature `redis`, or write \"disk\" or \"memory\"";
        section.refuse("store", fault.help(help));
    }
    if section.raw("redis").is_none() {
        let fault = Fault::new("the section [session.redis] is missing");
        let help = "add it, with `url` and `key_file`: config.example.toml shows how";
        section.refuse("store", fault.help(help));
        return session::Backend::Memory;
    }
    let settings = redis::read(&mut section.table("redis"), folder, path);
    settings.map_or(session::Backend::Memory, |settings| {
        session::Backend::Redis(Arc::new(settings))
    })
}

fn not_in_redis(section: &mut Section<'_>) {
    if section.raw("redis").is_some() {
        let mut table = section.table("redis");
        table.entries(); // one problem is enough
        let fault = Fault::new("this section is for sessions in Redis or Valkey");
        table.refuse_all(fault.help("write store = \"redis\" in [session], or leave it out"));
    }
}

/// Beside the sessions, because they outlive a restart as these do.
fn identity_keys(sessions: &session::Backend) -> KeySource {
    if let Some(keys) = credential(Path::new(token::CREDENTIAL)) {
        return KeySource::Credential(keys);
    }
    match sessions.local() {
        Some(sessions) => KeySource::File(sessions.with_file_name(token::FILE)),
        None => KeySource::Memory,
    }
}

fn branding(
    login: &mut Section<'_>,
    title: Option<String>,
    apps: &[AppSettings],
    folder: &Path,
) -> pages::Branding {
    let of_only_app = || match apps {
        [app] => app.title.clone(),
        _ => None,
    };
    pages::Branding {
        title: title
            .or_else(of_only_app)
            .unwrap_or_else(|| "Vestibule".to_owned()),
        logo: login.get("logo", |value| {
            let path = value::path(value)?;
            let extension = path.extension().and_then(|extension| extension.to_str());
            match extension.map(str::to_ascii_lowercase).as_deref() {
                Some("svg" | "png" | "jpg" | "jpeg" | "webp") => Ok(folder.join(path)),
                _ => Err(Fault::new("this is not an image file that pages can show")
                    .help("use .svg, .png, .jpg or .webp")),
            }
        }),
        accent: login.get("accent", value::colour),
        footer: login.get("footer", value::string),
    }
}

fn throttle(mut section: Section<'_>) -> throttle::Settings {
    throttle::Settings {
        account_failures: section.get("account_failures", value::count).unwrap_or(10),
        address_failures: section.get("address_failures", value::count).unwrap_or(50),
        window: section
            .get("window", value::period)
            .unwrap_or(Duration::from_mins(15)),
    }
}

/// Where the metrics are told; `""` is nowhere.
fn metrics(section: &mut Section<'_>, listener: &listener::Settings) -> Option<SocketAddr> {
    let address = section.get("metrics", |value| match value::any_text(value)? {
        "" => Ok(None),
        _ => value::socket_address(value).map(Some),
    });
    let address = address.flatten()?;
    let mut others = listener.listen.iter().chain(&listener.redirect_http);
    let is_auth = listener.auth.contains(&AuthAddress::Tcp(address));
    if address.port() != 0 && (is_auth || others.any(|other| *other == address)) {
        let whom = if is_auth {
            "proxies that ask"
        } else {
            "visitors"
        };
        let fault = Fault::new(format!("{address} serves {whom} already"));
        section.refuse(
            "metrics",
            fault.help("write a port of its own, such as 9180"),
        );
    }
    Some(address)
}

fn admin(section: &mut Section<'_>, folder: &Path) -> admin::PathSetting {
    let socket = section.get("socket", |value| value::any_text(value).map(PathBuf::from));
    match socket {
        None => admin::PathSetting::Default("/run/vestibule/admin.sock".into()),
        Some(path) if path.as_os_str().is_empty() => admin::PathSetting::Off,
        Some(path) => admin::PathSetting::Configured(folder.join(path)),
    }
}

fn log(section: &mut Section<'_>, folder: &Path) -> telemetry::Settings {
    use telemetry::Format::{Auto, Json, Text};
    let format = section.get("format", |value| {
        value::word(value, &[("auto", Auto), ("text", Text), ("json", Json)])
    });
    telemetry::Settings {
        format: format.unwrap_or(Auto),
        level: section
            .get("level", value::log_level)
            .unwrap_or_else(|| "info".to_owned()),
        access: section.get("access", value::boolean).unwrap_or(true),
        audit_file: section
            .get("audit_file", |value| {
                value::any_text(value).map(PathBuf::from)
            })
            .filter(|path| !path.as_os_str().is_empty())
            .map(|path| log_folder(folder).join(path)),
    }
}

fn log_folder(folder: &Path) -> PathBuf {
    folder_of_systemd("LOGS_DIRECTORY").unwrap_or_else(|| state_folder(folder))
}
