//! The configuration file: TOML in, the settings of every module out.
//!
//! `file` and `app` mirror the file section by section and name each key with its default once;
//! `value` judges single values; `section` walks the tables and finds the keys that nobody knows;
//! `problem` shows everything that is wrong, with its place. To add a key: read it in `file` or
//! `app`, and explain it in `config.example.toml` (a test asks for that).

mod after_logout;
mod app;
mod file;
mod login_host;
mod login_users;
mod problem;
mod redis;
mod section;
#[cfg(test)]
mod tests;
mod upstream;
pub(crate) mod value;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use toml::de::DeTable;

pub use self::problem::ConfigError;
use self::problem::Problems;
use self::section::Section;
use crate::auth::{UsersHome, throttle};
use crate::doctor::permission::{self, OwnFile, Perspective};
use crate::forwarded::TrustedSources;
use crate::identity::token::KeySource;
use crate::load::memory::{Ceiling, Demands};
use crate::session::Backend;
use crate::source_text::Fault;
use crate::{
    admin, doctor, listener, pages, proxy, regular_file, request, session, telemetry, tls,
};

/// The settings of every module, read from one TOML file.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder with the responses to HTTP-01 challenges.
    pub(crate) acme_challenges: Option<PathBuf>,
    pub(crate) admin: admin::PathSetting,
    /// `Location` after a sign-out; `None` shows our own page.
    pub(crate) after_logout: Option<HeaderValue>,
    pub(crate) apps: Vec<proxy::AppSettings>,
    /// Proxies that may ask by forward auth.
    pub(crate) auth_from: TrustedSources,
    pub(crate) branding: pages::Branding,
    pub(crate) drain_timeout: Duration,
    /// Of identity tokens.
    pub(crate) identity_keys: KeySource,
    /// Bytes of all forms that met an ended session; 0 keeps none.
    pub(crate) kept_forms: usize,
    pub(crate) limits: request::Limits,
    /// Where some of this is, for people.
    pub(crate) lines: Lines,
    pub(crate) listener: listener::Settings,
    /// Where everybody signs in; `None` where each host has a login of its own.
    pub(crate) login_host: Option<request::Host>,
    pub(crate) log: telemetry::Settings,
    /// Where `/metrics` and the like are; nowhere by default.
    pub(crate) metrics: Option<SocketAddr>,
    /// Names that the clients of these may ask for, besides addresses and `localhost`.
    pub(crate) metrics_hosts: Vec<request::Host>,
    /// Of the file that all this was read from.
    pub(crate) path: PathBuf,
    pub(crate) proxy_protocol_from: TrustedSources,
    /// As browsers see it, where that is another one than `listen` has.
    pub(crate) public_port: Option<u16>,
    pub(crate) session: session::Settings,
    pub(crate) throttle: throttle::Settings,
    pub(crate) timeouts: proxy::Timeouts,
    pub(crate) tls: tls::Settings,
    pub(crate) trusted_proxies: TrustedSources,
    pub(crate) users: UsersHome,
}

/// The lines of keys that more can be wrong with than shows in the file; `None` is left out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lines {
    pub(crate) acme_challenges: Option<usize>,
    pub(crate) audit_file: Option<usize>,
    pub(crate) auth_from: Option<usize>,
    pub(crate) auth_listen: Option<usize>,
    pub(crate) listen: Option<usize>,
    pub(crate) login_host: Option<usize>,
    pub(crate) metrics: Option<usize>,
    pub(crate) redirect_http: Option<usize>,
    pub(crate) redis: Option<usize>,
    pub(crate) session_path: Option<usize>,
    pub(crate) socket: Option<usize>,
}

impl Config {
    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            regular_file::text(path).map_err(|error| ConfigError::unreadable(path, error))?;
        Self::parse(&text, path)
    }

    /// What the service may take of memory when verifying passwords takes `hashing` bytes, and the users
    /// themselves take `users`.
    pub(crate) fn memory_ceiling(&self, hashing: u64, users: u64) -> Ceiling {
        let session_data = self.apps.iter().any(|app| app.session_data);
        let buffers = self.apps.iter().map(|app| app.upstream.buffer_requests);
        let largest_body = buffers.max();
        Ceiling::of(Demands {
            max_connections: self.listener.limits.max,
            head: self.limits.head,
            sessions: self.session.memory(session_data, self.hosts_of_a_session()),
            forms: self.kept_forms,
            logs: self.log.memory(),
            hashing,
            users,
            largest_body: largest_body.unwrap_or(0),
        })
    }

    /// How many hosts a session may be open on, besides that of its login.
    fn hosts_of_a_session(&self) -> usize {
        let together = self.apps.iter().filter(|_| self.login_host.is_some());
        let hosts = together.map(|app| {
            if app.sso_wildcard == proxy::WildcardLogin::Together {
                usize::MAX // as many as a session has room for
            } else {
                app.hosts.names().count()
            }
        });
        hosts.fold(0, usize::saturating_add)
    }

    /// Checks the text of a file. `path` names it in what is reported, and relative paths in it
    /// start from its folder.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let problems = Problems::new(text);
        let (document, errors) = DeTable::parse_recoverable(text);
        // What stands behind a syntax error is guesswork: no second report builds on it.
        if !errors.is_empty() {
            for error in errors {
                problems.push(error.span(), syntax(text, &error));
            }
            return Err(problems.into_error(path));
        }
        let config = file::read(Section::root(document.get_ref(), &problems), path);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problems.into_error(path))
        }
    }

    /// What is looked at for what is wrong beyond the file itself, and with whose rights.
    pub(crate) fn examined(&self, perspective: Perspective) -> doctor::Settings {
        doctor::Settings {
            apps: self.apps.clone(),
            login_host: (self.login_host.clone()).map(|host| (host, self.lines.login_host)),
            identity_keys: self.identity_keys.clone(),
            limits: self.limits.clone(),
            backend: self.session.backend.clone(),
            users: self.users.clone(),
            redis_line: self.lines.redis,
            tls: self.tls.clone(),
            files: self.files(perspective),
            ceiling: self.memory_ceiling(0, 0),
            trusted_proxies: self.trusted_proxies.clone(),
            auth: doctor::Auth {
                listen: self.listener.auth.clone(),
                from: self.auth_from.clone(),
                lines: (self.lines.auth_listen, self.lines.auth_from),
            },
            port: self.browsers_port(),
        }
    }

    /// Where a test or systemd gives the port, or proxies stand in front, the usual one is meant.
    fn browsers_port(&self) -> doctor::BrowsersPort {
        let is_outermost = self.trusted_proxies.is_empty() && self.proxy_protocol_from.is_empty();
        let listen = self.listener.listen.first().map(SocketAddr::port);
        let listen = listen.filter(|&port| port != 0 && is_outermost);
        doctor::BrowsersPort {
            number: self.public_port.or(listen).unwrap_or(443),
            is_configured: self.public_port.is_some(),
        }
    }

    fn files(&self, perspective: Perspective) -> permission::Files {
        let place = |path: &Path, line, given: &[&str]| OwnFile {
            path: path.to_owned(),
            line,
            is_certain: perspective == Perspective::Service || is_certain(path, &self.path, given),
        };
        let lines = self.lines;
        let sessions = match &self.session.backend {
            Backend::Disk(file) => Some(place(file, lines.session_path, &["STATE_DIRECTORY"])),
            Backend::Memory | Backend::Redis(_) => None,
        };
        let socket = match &self.admin {
            admin::PathSetting::Configured(socket) => Some(OwnFile {
                path: socket.clone(),
                line: lines.socket,
                is_certain: true,
            }),
            // Where it cannot be, the server does without.
            admin::PathSetting::Default(_) | admin::PathSetting::Off => None,
        };
        let audit = self.log.audit_file.as_deref();
        let given = ["LOGS_DIRECTORY", "STATE_DIRECTORY"];
        let challenges = self.acme_challenges.as_ref().map(|folder| OwnFile {
            path: folder.clone(),
            line: lines.acme_challenges,
            is_certain: true,
        });
        let headers = self
            .apps
            .iter()
            .flat_map(|app| &app.request_headers.set_file);
        let secrets = headers.map(|header| header.file.clone());
        let has_token = self.apps.iter().any(|app| app.identity.token().is_some());
        let keys = self.identity_keys.file().filter(|_| has_token);
        let secrets = self.tls.files().into_iter().chain(secrets);
        let secrets = secrets.chain(keys.map(Path::to_owned));
        let redis = match &self.session.backend {
            Backend::Redis(settings) => settings.files(),
            Backend::Disk(_) | Backend::Memory => Vec::new(),
        };
        let secrets = secrets.chain(redis);
        permission::Files {
            perspective,
            challenges,
            config: self.path.clone(),
            users_file: self.users.file().map(Path::to_owned),
            secrets: secrets.collect(),
            sessions,
            socket,
            audit: audit.map(|file| place(file, lines.audit_file, &given)),
        }
    }
}

/// A relative path starts in a folder that systemd gives to the service: whoever checks by hand
/// does not see that one, but the one of the configuration.
fn is_certain(place: &Path, config: &Path, given: &[&str]) -> bool {
    let by_systemd = given.iter().any(|name| std::env::var_os(name).is_some());
    by_systemd
        || config
            .parent()
            .is_some_and(|folder| !place.starts_with(folder))
}

/// TOML's own words, and the fix for what people write most: a value without quotes.
fn syntax(text: &str, error: &toml::de::Error) -> Fault {
    let fault = Fault::new(error.message());
    let start = error.span().map_or(0, |span| span.start);
    let line = text[..text.floor_char_boundary(start)].lines().count();
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    match line.split_once('=') {
        Some((key, value))
            if !value.contains(['"', '\'', '[', '{']) && !value.trim().is_empty() =>
        {
            fault.help(format!(
                "text stands in quotes: {} = \"{}\"",
                key.trim(),
                value.trim()
            ))
        }
        _ => fault,
    }
}
