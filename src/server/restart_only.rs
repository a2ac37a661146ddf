//! Settings that only a restart changes.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::auth::UsersHome;
use crate::config::Config;
use crate::identity::token::KeySource;
use crate::listener::AuthAddress;
use crate::request::Host;
use crate::{admin, session, telemetry};

/// What stays as it was at the start, whatever a new configuration says.
pub(super) struct RestartOnly {
    pub(super) listen: Vec<SocketAddr>,
    pub(super) redirect_http: Vec<SocketAddr>,
    pub(super) auth_listen: Vec<AuthAddress>,
    pub(super) backend: session::Backend,
    pub(super) identity_keys: KeySource,
    pub(super) users: UsersHome,
    pub(super) admin: admin::PathSetting,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) metrics_hosts: Vec<Host>,
    pub(super) log_format: telemetry::Format,
    pub(super) audit_file: Option<PathBuf>,
}

impl RestartOnly {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            listen: config.listener.listen.clone(),
            redirect_http: config.listener.redirect_http.clone(),
            auth_listen: config.listener.auth.clone(),
            backend: config.session.backend.clone(),
            identity_keys: config.identity_keys.clone(),
            users: config.users.clone(),
            admin: config.admin.clone(),
            metrics: config.metrics,
            metrics_hosts: config.metrics_hosts.clone(),
            log_format: config.log.format,
            audit_file: config.log.audit_file.clone(),
        }
    }

    /// The keys whose new values need a restart.
    pub(super) fn differences(&self, other: &Self) -> Vec<&'static str> {
        [
            ("server.listen", self.listen != other.listen),
            (
                "server.redirect_http",
                self.redirect_http != other.redirect_http,
            ),
            ("server.auth_listen", self.auth_listen != other.auth_listen),
            (
                "session.store and session.path and session.redis",
                self.backend != other.backend,
            ),
            (
                "login.users and login.users_file",
                self.users != other.users,
            ),
            ("admin.socket", self.admin != other.admin),
            ("admin.metrics", self.metrics != other.metrics),
            (
                "admin.metrics_hosts",
                self.metrics_hosts != other.metrics_hosts,
            ),
            ("log.audit_file", self.audit_file != other.audit_file),
            ("log.format", self.log_format != other.log_format),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }
}
