//! Vestibule: a login for apps that have none.
//!
//! A reverse proxy that adds session authentication to internal web apps that know no users.
//! This page is the architecture document of the crate.
//!
//! # The path of a request
//!
//! In this order; each module has its parts in a folder of the same name.
//!
//! | module | what it does | look there for |
//! |---|---|---|
//! | `listener` | binds sockets, survives running out of descriptors | PROXY protocol |
//! | `server` | accepts and serves connections, starts, reloads and stops the service | `connection` (HTTP/1.1, HTTP/2), `linger` (answers before the end of an upload), `plain_http`, `auth_listener` (forward auth), `systemd`, `watchdog`, the metrics listener |
//! | `tls` | terminates TLS: certificates by SNI, handshakes | |
//! | `load` | bounds what is open and in flight, and decides who is refused when it is too much | the memory ceiling, fair shares of networks and users |
//! | `proxy` | **read it first**: parses, identifies, decides, prepares, forwards, finishes; `proxy::Service` outlives reloads | `judge` (who, and may they), `forward_auth` (the same for proxies that ask), `apps` and `part` (which app), `response` (cleaning, rewriting of `Location` and cookies), `websocket`, `live` (streams that lose their permission), `maintenance` (apps that are closed) |
//! | `request` | parses a request once | `wire` (the bytes of a head), `original` (what a proxy asks about), `path` and `readings` (normal form, and what apps make of it), `webdav` |
//! | `forwarded` | finds the client's address behind trusted proxies, and writes `X-Forwarded-*` | |
//! | `access` | judges a request by the rules of its app; only it makes a `Permit` | |
//! | `identity` | strips forged identity headers and sets ours | `token` (the signed identity token, and its keys) |
//! | `upstream` | the connections to the apps | `balance` (which address), `health`, `pool`, `connect`, `http1` (requests and responses on the wire), `tolerant`, `trust` (their certificates), `tunnels`, `body` |
//!
//! # Signing in
//!
//! | module | what it does | look there for |
//! |---|---|---|
//! | `portal` | answers the addresses under `/.vestibule/` | a file a page: `sign_in`, `sign_out`, `account`; `sso` (one login for all apps); `jwks` (the keys of identity tokens); `csrf`, `return_to`, `saved_posts` |
//! | `pages` | renders HTML and JSON: templates, branding, and every text (`messages`) | |
//! | `error` | what can go wrong with a request: its status, and which message tells of it | |
//! | `auth` | verifies a password (`local_users`, `password`, `hashing`), throttles logins; only a login makes a `SignedIn`; `callers` turns a session, an API token or a known password into a `Principal` | the users file, hash formats, `api_token` and `authenticators` (where tokens are kept), `known_passwords` (HTTP Basic) |
//! | `principal` | a user, as rules and headers see one, and how they proved it | |
//! | `session` | begins, finds, rotates and ends sessions | `store` (the trait), `disk` and `memory`, `cookie`, `codec`, `active_streams` |
//!
//! # Running it
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | the TOML file, each setting on its way to the module that acts on it |
//! | [`cli`] | the commands |
//! | `admin` | the Unix socket behind `session`, `node`, `reload` and `status` |
//! | `doctor` | looks for problems, for `check` and for `status` |
//! | `probe` | requests of `check --through`, and what the server has read of them |
//! | `metrics`, `telemetry` | counters; access log and audit log |
//!
//! # Helpers
//!
//! | module | what it does |
//! |---|---|
//! | `network` | the networks that limits count, and `quotas`: fair shares among them |
//! | `source_text` | places in files that people write, names close to a misspelt one, and how a `problem` is shown |
//! | `socket_file` | socket files: bound as a whole, with their mode, and gone with their server |
//! | `regular_file` | reads whole files, and refuses pipes; `trust`: refuses files that others can write |
//! | `nodes` | what leads a node to the others: `heartbeat` (who is there), `values` (small sealed values that all can read), `keys` (keys that take turns) |
//! | `redis` | what nodes share in Redis or Valkey: `seal` (values that only they can read), `link` (connections, Sentinel, Cluster) |
//! | `storage` | databases in files that are ours alone, and the versions of their rows |
//! | `pem_file` | certificates and keys in files, and what a file is that is no PEM |
//! | `sample` | the app behind `quickstart` |
//! | `secret`, `random`, [`clock`] | values that no log shows; random bytes; the only place that asks for the time |
//! | `benchmark`, `fuzzing` | what `benches/` and `fuzz/` see of all this |
//!
//! # Invariants
//!
//! - Only `server` touches the sockets of clients; `proxy` sees requests and bodies, and does not depend on it.
//! - A request is parsed once; the decision and the upstream request come from that same value.
//! - `Sessions::start` takes an `auth::SignedIn`, which only a login makes: no session without one.
//! - `access::Permit` is the only way into `Upstreams::forward`: no forward without a decision.
//! - Stores, logs and commands see the hash of a session id, never the id.
//! - A session id opens the host that it was set on, and no other. Where one login is for all apps, a
//!   session has an id for each host.
//! - Tokens, and passwords that Vestibule itself takes, reach no app.
//! - A stream ends when its request would no longer be permitted.
//! - Expiry is decided from the record in `session`; caches only collect garbage.
//!
//! # Words of our own
//!
//! All others are those of the RFCs for HTTP, of OWASP and NIST for sessions, and of nginx and Envoy
//! for proxies.
//!
//! - **app**: one upstream application, with its host, addresses and rules.
//! - **rule**: who may open which part of an app. A **permit** is the proof of a decision.
//! - **session id**, **session key**: the secret in the cookie, and its SHA-256.
//! - **credential fingerprint**: which password a session was begun with; another one ends it.
//! - **saved POST**: a form that was sent after its session had ended, kept until its user has signed in
//!   again.
//! - **network**: clients that limits count as one: an IPv4 address; of IPv6 a /64, and at once the /56
//!   and /48 around it.
//! - **visitor**: anybody without a session. A **user** has one.
//! - **linger**: to read and discard what a client still sends after its answer, then close.
//! - **doctor**: looks for what is wrong; a **finding** says what, and how to fix it.
//!
//! # What is not done
//!
//! Nothing is cached or compressed. Of a response, only header fields are rewritten, never the body.
//! Request bodies are never spooled to disk; for an app that asks for it, they are read into memory
//! first. HTTP/3 and extended CONNECT are off.

mod access;
mod admin;
mod auth;
#[doc(hidden)]
pub mod benchmark;
pub mod cli;
pub mod clock;
pub mod config;
mod doctor;
mod error;
mod forwarded;
#[cfg(fuzzing)]
pub mod fuzzing;
mod identity;
mod listener;
mod load;
mod metrics;
mod network;
mod nodes;
mod pages;
mod pem_file;
mod portal;
mod principal;
mod probe;
mod proxy;
mod random;
mod redis;
mod regular_file;
mod request;
mod sample;
mod secret;
mod server;
mod session;
mod socket_file;
mod source_text;
mod storage;
mod telemetry;
mod tls;
mod upstream;

pub use server::{Running, StartError, start};

#[cfg(test)]
mod tests {
    #[test]
    fn the_map_names_every_module() {
        let source = include_str!("lib.rs");
        let (map, modules) = source.split_once("//! # Invariants").unwrap();
        let modules = modules.lines().filter_map(|line| {
            let line = line.strip_prefix("pub ").unwrap_or(line);
            line.strip_prefix("mod ")?.strip_suffix(';')
        });
        let modules: Vec<_> = modules.collect();
        assert!(modules.len() > 30, "{modules:?}");
        for module in modules {
            assert!(map.contains(&format!("`{module}`")), "{module}");
        }
    }
}
