//! `[[app]]`, as the configuration has it.

use std::time::Duration;

use http::Method;

use crate::access;
use crate::identity;
use crate::proxy::credentials::CredentialSettings;
use crate::proxy::headers::{RequestHeaders, ResponseHeaders};
use crate::proxy::maintenance::MaintenanceSettings;
use crate::proxy::part::Part;
use crate::proxy::response::far_reaching::FarReaching;
use crate::proxy::websocket::WebSocketOrigins;
use crate::request::{AllowInPath, HostPattern, Hosts, Networks};
use crate::upstream;

/// One `[[app]]`.
#[derive(Clone, Debug)]
pub(crate) struct AppSettings {
    /// Where the configuration has it, for people.
    pub(crate) line: usize,
    pub(crate) name: String,
    /// What visitors sign in to; `None` is its name.
    pub(crate) title: Option<String>,
    /// None at all serve every host; only for a single app.
    pub(crate) hosts: Hosts,
    /// Where visitors of hosts below its wildcards sign in.
    pub(crate) sso_wildcard: WildcardLogin,
    /// The part of its hosts that is the app's, and whether the app gets paths without it.
    pub(crate) part: Part,
    /// For how long browsers come back by TLS only; zero says nothing, `None` is the default. The
    /// same for each of the apps of a host.
    pub(crate) hsts: Option<Duration>,
    pub(crate) upstream: upstream::Settings,
    pub(crate) identity: identity::Headers,
    pub(crate) request_headers: RequestHeaders,
    pub(crate) response_headers: ResponseHeaders,
    pub(crate) rules: access::Rules,
    /// From where it may be opened, whatever the rules say.
    pub(crate) networks: Networks,
    /// Whether forms that meet an ended session are kept.
    pub(crate) keep_forms: bool,
    /// Whether the three session data headers are spoken.
    pub(crate) session_data: bool,
    /// Whether what an endless stream brings is use of its session (REL-20).
    pub(crate) push_is_use: bool,
    /// Methods that the app gets; what is ours has its own.
    pub(crate) methods: Vec<Method>,
    /// Whether it is closed, and for whom it is not.
    pub(crate) maintenance: MaintenanceSettings,
    /// Bytes of a request body; 0 for any number.
    pub(crate) max_body: u64,
    /// What passes in a path for this app (SEC-29).
    pub(crate) allow_in_path: AllowInPath,
    /// Who may open WebSockets (SEC-74).
    pub(crate) websocket_origins: WebSocketOrigins,
    /// Headers that reach beyond the app and pass all the same (SEC-90).
    pub(crate) allow_response: Vec<FarReaching>,
    /// What programs may show in place of a session.
    pub(crate) credentials: CredentialSettings,
}

/// Where visitors of hosts below a wildcard sign in, if there is one login for all apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WildcardLogin {
    /// On the host itself.
    Own,
    /// Where all do.
    Together,
}

impl WildcardLogin {
    /// Whether visitors of this host of an app sign in on it, even where one login is for all.
    pub(crate) fn is_apart(self, host: &HostPattern) -> bool {
        host.name().is_none() && self == Self::Own
    }
}
