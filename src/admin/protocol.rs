//! What the commands and the server say to each other, a line of JSON each.
//!
//! A connection carries one [`Request`] and its answer: [`Line::Session`]s where the request asks
//! for some, then one [`Line::Done`] or [`Line::Error`]. Without that last line the answer is
//! broken off. A new command is a variant of [`Request`] and one of [`Done`].

mod node;
mod user;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use self::node::{NodeState, NodeView, StreamsView};
pub(crate) use self::user::{HashText, NewUserRequest, NotImported, UserView};
use crate::auth::api_token::{Token, TokenLimits};
use crate::clock::Timestamp;
use crate::doctor::Finding;
use crate::probe::Reading;
use crate::session::Record;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Closes an app for maintenance.
    AppPause {
        app: String,
        /// What visitors read.
        sentence: Option<String>,
    },
    /// Opens it again.
    AppResume {
        app: String,
    },
    /// The nodes that share the session store.
    NodeList {},
    /// Reads the configuration again.
    Reload {},
    /// The next sessions in the order of their keys. One page, so that a reader who takes hours
    /// holds nothing open: whoever wants more asks again.
    SessionList {
        /// The key that the page before ended with.
        after: Option<String>,
    },
    /// All sessions of one user, the latest login first.
    SessionListOfUser {
        user: String,
    },
    /// Ends the one session whose key begins so.
    SessionRevoke {
        key: String,
    },
    SessionRevokeOfUser {
        user: String,
    },
    SessionRevokeAll {},
    /// Makes an API token.
    TokenAdd(NewTokenRequest),
    /// API tokens, of all users or of one.
    TokenList {
        user: Option<String>,
    },
    /// Revokes the one token whose key begins so.
    TokenRevoke {
        key: String,
    },
    TokenRevokeOfUser {
        user: String,
    },
    /// Adds a user to those that all nodes share.
    UserAdd(NewUserRequest),
    /// Whether a user of this name could be changed, because there is one, or added: asked before a
    /// password is.
    UserCheck {
        name: String,
        is_there: bool,
    },
    /// Adds some of another file, or gives those that are there its passwords.
    UserImport {
        users: Vec<NewUserRequest>,
        replace: bool,
    },
    UserList {},
    /// Gives a user another password.
    UserPasswd {
        name: String,
        password: HashText,
    },
    UserRemove {
        name: String,
    },
    UserSetDisabled {
        name: String,
        disabled: bool,
    },
    /// Begins to note the probes of `check --through`.
    ProbesBegin {},
    /// Ends that, for the run of this key.
    ProbesEnd {
        key: String,
    },
    Status {},
    /// What is wrong with the server. Applications are dialled for it now and then.
    Health {},
}

/// One line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Line {
    Node(Box<NodeView>),
    Session(Box<SessionView>),
    Token(Box<TokenView>),
    User(Box<UserView>),
    /// What was read of one probe.
    Probe(u32, Vec<Reading>),
    /// The last line: it was done.
    Done(Done),
    /// The last line: it was not, or not as it should be. A sentence for people.
    Error(String),
    /// The last line: it was not, because something that is configured cannot be used.
    Invalid(String),
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Done {
    Paused {},
    /// The key that the probes of this run are signed with.
    ProbesBegun {
        key: String,
    },
    ProbesEnded {},
    Resumed {
        was_paused: bool,
    },
    Reloaded {
        /// Keys whose new values do not hold yet.
        need_restart: Vec<String>,
    },
    /// With what to ask for the next page; `None` when there is none.
    Listed {
        next: Option<String>,
        /// Nodes on which sessions may have streams that are not listed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        streams_unknown_of: Vec<String>,
    },
    /// The nodes are listed.
    Nodes {
        /// There can be no others than this one.
        alone: bool,
    },
    /// How many sessions have ended; of whom, if it was the one of a key.
    Ended {
        sessions: usize,
        /// There may have been more, which nobody could count: they have ended, too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        or_more: bool,
        user: Option<String>,
    },
    /// The text of a token, which nobody can show again, and what there is of it from now on.
    Made {
        token: String,
        view: Box<TokenView>,
    },
    /// How many tokens were revoked; of whom, if it was the one of a key.
    Revoked {
        tokens: usize,
        user: Option<String>,
    },
    Status(Box<Status>),
    Health(Health),
    /// Whether a user is another one than before.
    UserChanged {
        changed: bool,
    },
    /// What became of whom.
    UsersImported {
        added: Vec<String>,
        kept: Vec<String>,
        replaced: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        failed: Vec<NotImported>,
        /// Why nobody else was imported: the store takes none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped: Option<String>,
    },
    /// The users are listed.
    Users {
        /// How many there are besides that cannot be read.
        unreadable: usize,
    },
}

/// A session as operators see it; times in UTC by RFC 3339.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionView {
    pub(crate) key: String,
    pub(crate) user: String,
    /// Groups and e-mail at the login.
    pub(crate) groups: Vec<String>,
    pub(crate) email: Option<String>,
    pub(crate) method: String,
    pub(crate) created: String,
    pub(crate) last_accessed: String,
    /// The end of the lifetime; the idle timeout may end it before.
    pub(crate) expires: String,
    pub(crate) client: String,
    /// That its ids open; none yet where an earlier version began it.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    pub(crate) user_agent: String,
    /// Where it has streams open, such as WebSockets; `None` where there is one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) streams: Option<Vec<StreamsView>>,
}

impl From<&Record> for SessionView {
    fn from(record: &Record) -> Self {
        Self {
            key: record.key.to_string(),
            user: record.user().to_owned(),
            groups: record.groups.clone(),
            email: record.email.clone(),
            method: record.context.methods().names(),
            created: record.created.to_rfc3339(),
            last_accessed: record.last_accessed.to_rfc3339(),
            expires: record.expires.to_rfc3339(),
            client: record.client.to_string(),
            hosts: record
                .ids
                .iter()
                .map(|id| id.host.as_str().to_owned())
                .collect(),
            user_agent: record.user_agent.clone(),
            streams: None,
        }
    }
}

/// A new API token.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTokenRequest {
    pub(crate) user: String,
    pub(crate) name: String,
    /// How long it is good for, in seconds.
    pub(crate) seconds: u64,
    pub(crate) limits: TokenLimits,
}

/// An API token as operators see it; times in UTC by RFC 3339. Empty lists restrict nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenView {
    pub(crate) key: String,
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) apps: Vec<String>,
    pub(crate) paths: Vec<String>,
    pub(crate) methods: Vec<String>,
    pub(crate) networks: Vec<String>,
    pub(crate) created: String,
    pub(crate) expires: String,
    pub(crate) expired: bool,
    pub(crate) last_used: Option<String>,
}

impl TokenView {
    pub(super) fn of(token: &Token, now: Timestamp) -> Self {
        let scope = token.scope();
        let methods = scope.methods().iter();
        Self {
            key: token.key().to_string(),
            user: token.user().to_owned(),
            name: token.name().to_owned(),
            apps: scope.apps().to_vec(),
            paths: scope.paths().to_vec(),
            methods: methods.map(ToString::to_string).collect(),
            networks: scope.networks().list(),
            created: token.created().to_rfc3339(),
            expires: token.expires().to_rfc3339(),
            expired: now >= token.expires(),
            last_used: token.last_used().map(Timestamp::to_rfc3339),
        }
    }
}

/// The server at one moment.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// By RFC 3339.
    pub(crate) started: String,
    /// It takes no new connections and lets open requests finish.
    pub(crate) stopping: bool,
    pub(crate) listen: Vec<String>,
    pub(crate) redirect_http: Vec<String>,
    /// Where proxies ask by forward auth.
    #[serde(default)]
    pub(crate) auth_listen: Vec<String>,
    /// Where metrics and health are told.
    pub(crate) metrics: Option<String>,
    pub(crate) connections: Occupancy,
    /// Requests whose answer is not whole yet.
    pub(crate) requests: Occupancy,
    /// Bytes.
    pub(crate) memory: Occupancy,
    /// Why strangers are turned away, if they are.
    pub(crate) shedding: Option<String>,
    /// Who holds most: `connections`, `requests`, and `memory` for uploads, in bytes.
    pub(crate) largest: BTreeMap<String, Largest>,
    pub(crate) sessions: SessionCount,
    /// Where sessions are kept: `memory`, `disk` or `redis`.
    pub(crate) store: String,
    /// Of a store that other nodes share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store_reach: Option<StoreReach>,
    /// As they were last read, disabled ones included.
    pub(crate) users: usize,
    #[serde(default)]
    pub(crate) users_in: UsersIn,
    /// Nodes that share the store, this one included, while the store says how many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nodes: Option<usize>,
    /// API tokens, expired ones included.
    #[serde(default)]
    pub(crate) tokens: usize,
    pub(crate) apps: Vec<AppStatus>,
    /// The last time that the configuration was to be read again.
    pub(crate) reload: Option<ReloadStatus>,
}

/// Where users live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UsersIn {
    /// Those of a server that does not say, too.
    #[default]
    File,
    /// The session store.
    Store,
}

/// How it is with the connections to a store that other nodes share.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoreReach {
    pub(crate) connected: bool,
    /// By RFC 3339.
    pub(crate) since: String,
    pub(crate) error: Option<String>,
    /// Programs and their versions.
    pub(crate) servers: Vec<String>,
}

/// Who holds most of something.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Largest {
    pub(crate) networks: Vec<Holder>,
    pub(crate) users: Vec<Holder>,
}

/// A network of strangers or a signed-in user, and how much they hold.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) name: String,
    pub(crate) held: usize,
}

/// What is seen of the server when it is looked at more closely.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Health {
    /// A sentence for each: names, end, and who has signed it.
    pub(crate) certificates: Vec<String>,
    pub(crate) findings: Vec<Finding>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReloadStatus {
    /// By RFC 3339.
    pub(crate) at: String,
    /// Why the old configuration stays.
    pub(crate) error: Option<String>,
    /// Keys whose new values need a restart.
    pub(crate) need_restart: Vec<String>,
}

/// The number of sessions, and its limit (`max_sessions`).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct SessionCount {
    /// `None` where the store does not say.
    pub(crate) open: Option<usize>,
    pub(crate) max: usize,
}

/// How many of something there are, and how many there may be.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Occupancy {
    pub(crate) open: usize,
    pub(crate) max: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AppStatus {
    pub(crate) name: String,
    pub(crate) upstreams: Vec<UpstreamStatus>,
    /// Requests since the start by who sent them: `anonymous`, `basic`, `refused`, `session`,
    /// `token`.
    #[serde(default)]
    pub(crate) callers: BTreeMap<String, u64>,
    /// While it is closed.
    #[serde(default)]
    pub(crate) maintenance: Option<MaintenanceStatus>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MaintenanceStatus {
    /// `command` or `configuration`.
    pub(crate) by: String,
    /// What visitors read.
    pub(crate) sentence: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UpstreamStatus {
    pub(crate) address: String,
    /// Whether the last try to connect succeeded; true before the first.
    pub(crate) reachable: bool,
    /// Where the app has health checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) health: Option<CheckStatus>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckStatus {
    /// `up`, `down`, or `unknown` before two checks have said the same.
    pub(crate) state: String,
    /// What the last check met: a status, or what went wrong.
    pub(crate) last: Option<String>,
}

#[cfg(test)]
mod tests;
