//! Vestibule: a login for apps that have none.
//!
//! A reverse proxy that adds session authentication to internal web apps that know no users.
//! This page is the architecture document of the crate.
//!
//! # The way of a request, module by module
//!
//! | module | what it does |
//! |---|---|
//! | `server` | what runs: builds the service from its settings, accepts and serves connections, reloads and stops; systemd, the watchdog, the metrics listener |
//! | `listener` | binds sockets, survives running out of descriptors |
//! | `tls` | ends TLS: certificates by SNI, handshakes |
//! | `proxy` | **read first**: the way of a request from top to bottom; `proxy::Service` outlives reloads |
//! | `request` | parses a request once: host, normal path, limits |
//! | `forwarded` | who the client is, behind trusted proxies |
//! | `network` | whom limits count as one, and how it is shared |
//! | `access` | apps and rules; decides, and hands out the `Permit` |
//! | `session` | starts, finds, rotates and ends sessions |
//! | `portal` | our own addresses under `/.vestibule/`, a page each; saved POSTs, which met an ended session |
//! | `auth` | verifies passwords, hands out `SignedIn`; `auth::callers` says who sends a request |
//! | `principal` | who somebody is and how they proved it |
//! | `identity` | strips forged identity headers and sets ours |
//! | `upstream` | the pooled client to the applications |
//! | `load` | what is open and in flight, what is too much, and who is turned away then; the memory ceiling |
//! | `regular_file` | files that are read whole while others wait |
//! | `pages`, `error` | every answer of our own |
//! | `admin` | the Unix socket: lists and ends sessions, reloads, says how the server is |
//! | `doctor` | finds what is wrong, for `check` and for `status` |
//! | `metrics` | what is counted |
//! | `telemetry` | access log and audit |
//! | [`config`], [`cli`] | the TOML file and the commands |
//! | `source_text` | places in files that people write, and words that they misspell |
//! | `sample` | the app behind `quickstart` |
//! | `secret`, `random`, [`clock`] | values that no log shows; random bytes; the only place that asks for the time |
//!
//! # Invariants
//!
//! - Only `server` touches the sockets of clients; `proxy` sees requests and bodies, and knows no `server`.
//! - A request is parsed once; the decision and the upstream request come from that same value.
//! - `Sessions::start` takes an `auth::SignedIn`, which only a login makes: no session without one.
//! - `access::Permit` is the only way into `Upstreams::forward`: no forward without a decision.
//! - Stores, logs and commands see the hash of a session id, never the id.
//! - A session id opens the host that it was set on, and no other.
//! - A stream outlives its request's permit only as long as the same request would be permitted.
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
//! - **saved POST**: a form that met an ended session, kept until its user has signed in again.
//! - **network**: whom limits count as one; an IPv4 address, or a /64, /56 or /48 of IPv6.
//! - **visitor**: anybody without a session. A **user** has one.
//! - **linger**: to read and discard what a client still sends after its answer, then close.
//! - **doctor**: looks for what is wrong; a **finding** says what, and how to fix it.
//!
//! # What is not done
//!
//! Nothing is cached or compressed; bodies are not rewritten and are never spooled to disk; HTTP/3 and
//! extended CONNECT are off.

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
mod pages;
mod portal;
mod principal;
mod proxy;
mod random;
mod regular_file;
mod request;
mod sample;
mod secret;
mod server;
mod session;
mod source_text;
mod telemetry;
mod tls;
mod upstream;

pub use server::{Running, StartError, start};
