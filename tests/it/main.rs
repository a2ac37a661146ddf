//! The promises of Vestibule, each a module; all in one binary, so that it links once.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and says where"
)]

mod harness;

/// Visitors see where they are signed in, end that, and change their password.
mod account;
/// Another ACME client gets its certificates through us.
mod acme_challenges;
/// Who runs the server sees who is signed in, and ends it at once.
mod administration;
/// What an app answers reaches its clients whole, however old the app is.
mod answers;
mod app_connections;
/// An app with a certificate of its own is as safe as its operator wants it.
mod appliances;
/// Real applications and clients work through the gate as they do without it.
mod apps;
/// Each request goes to the address of its app that the operator wants.
mod balancing;
/// Programs sign in by passwords where an app lets them, as people do, and the app sees none.
mod basic;
/// What is too large for an app is refused before the app has it.
mod body_limits;
/// What people see in a real browser, from the first minute on.
mod browser;
/// An operator sees what the proxy in front lets clients choose.
mod check_through;
/// Programs without a session survive what they are told.
mod clients;
/// The commands say what is wrong and how they ended; nothing starts by half.
mod commands;
/// What signs a connection in signs nobody else in.
mod connection_auth;
/// The session cookie is ours alone, ends when it should, and opens nothing else.
mod cookies;
/// A change makes no request dearer without anybody noticing.
mod costs;
/// Forms of other sites that an app takes wait for a click.
mod cross_site_posts;
/// The pages of the documentation do what they say.
mod docs;
/// `check` and `status` find what is wrong before visitors do, and say how to fix it.
mod doctor;
/// Stopping loses nothing, and hard times pass.
mod drain;
/// An answer before the end of an upload is not lost.
mod early_answers;
/// fail2ban sees each login that failed, and nobody can make it see another.
mod fail2ban;
/// Hashes of other programs open, whole, and end with the first login.
mod foreign_hashes;
/// Proxies ask whether their clients may, and nobody else decides.
mod forward_auth;
/// Proxies in front name their clients in many forms.
mod forwarded;
/// A full disk keeps nobody from working.
mod full_disk;
/// A connection is agreed upon in TLS, and plain HTTP leads there.
mod handshakes;
/// Names of fields have the letters that old servers and clients expect.
mod header_case;
/// An upstream is told who asks by us, and by nobody else.
mod headers;
/// An address that is ill gets no requests before visitors notice it.
mod health_checks;
/// HTTP/2 is held to the same rules, and to its own.
mod http2;
/// One client's HTTP/2 costs the others nothing.
mod http2_floods;
/// An app can verify for whom a request is.
mod identity_token;
/// A connection to an app serves the next request for as long as both sides keep it.
mod kept_connections;
/// A form that meets an ended session is not lost, and nobody else's.
mod kept_forms;
/// A log that is slow, full or gone costs lines, and no request any time.
mod log_targets;
/// Signing in and out cannot be forged.
mod login;
/// A log line says what happened, once, and keeps secrets.
mod logs;
/// An app that is closed says so, to all but those who mend it.
mod maintenance;
/// What never becomes a request is told why, and is in the access log.
mod malformed_heads;
/// An app gets the methods that it knows, and no others.
mod methods;
/// An operator sees what the service does, where no visitor can.
mod metrics;
/// From elsewhere, an app that is for some networks cannot be opened, nor its login.
mod networks;
/// One sign-in opens the apps of all hosts.
mod one_login;
/// Too much to do keeps nobody waiting who is signed in.
mod overload;
/// A package brings all that the service needs, and takes away what it brought.
mod packages;
/// Every answer of ours is safe to show and tells nothing of the inside.
mod pages;
/// Guessing passwords does not pay, and says nothing.
mod passwords;
/// Old apps get the paths that they need, and nobody else more by it.
mod path_forms;
/// No server behind the gate reads a path as one that is closed.
mod path_readers;
/// The path that is judged is the path that is sent.
mod paths;
/// Plain HTTP on the port of TLS leads to https, or is answered in words.
mod plain_http;
/// Programs that people have sign in by tokens and passwords, each in its own way.
mod programs;
/// A load balancer says who the client is, and nobody else can.
mod proxy_protocol;
/// The first minute can be had again.
mod quickstart;
/// Each command and configuration of the README works as it says.
mod readme;
/// What went wrong once does not again.
mod regressions;
/// Another configuration is taken over whole or not at all, and nobody notices.
mod reloads;
/// What an app is told besides, and what it is not told.
mod request_headers;
/// A request has one name, for us, for the app and for a proxy in front.
mod request_ids;
/// What may be sent to an app twice is, and nothing else.
mod resends;
/// What visitors are told besides what an app says, and what they are not told.
mod response_headers;
/// Who is signed in stays so, and who signed out stays out, however the service ends.
mod restarts;
/// Where an app is inside shows nowhere outside, and the other way round.
mod rewriting;
/// An app without state of its own can keep a little in the session.
mod session_data;
/// An id opens the host that it was set on, and no other.
mod session_hosts;
/// A session more takes no place of others.
mod session_limits;
/// An app has several names, and all names below one.
mod several_hosts;
mod several_nodes;
/// Apps below paths of one host get what is theirs.
mod shared_hosts;
/// What an app cannot do to our pages, which share its origin.
mod shared_origin;
/// Slow and greedy clients harm nobody but themselves.
mod slow;
/// No byte of one client's message is ever read as another message.
mod smuggling;
/// Hours of load leave nothing behind.
mod soak;
/// Files, calendars and images, with the requests of their clients.
mod stores;
/// A stream goes on as long as its session and its reader, and no longer.
mod stream_ends;
/// A stream goes on as long as it would be permitted, and no longer.
mod stream_permissions;
/// Bodies pass as they come, whole and unchanged.
mod streaming;
mod strip_path;
/// systemd hears how the service is, and keeps its sockets open.
mod systemd;
/// Programs sign in by tokens, for as much as those are good for, and the app sees none.
mod tokens;
/// What a sloppy app is forgiven costs nobody the strictness that protects them.
mod tolerance;
/// TLS as it should be, and secrets that nobody else can read.
mod transport;
/// What is opened to an app as a tunnel is a WebSocket, and counted.
mod tunnels;
/// The unit runs where it is meant to, and the service under it.
mod unit;
/// Applications that come and go, slow down or lie.
mod upstreams;
/// Users are managed by commands, without a restart.
mod user_commands;
/// Users keep the names that they have, and nobody else passes for them.
mod user_names;
/// What changes in the users file holds at the next request.
mod users;
/// Repositories and their own clients.
mod version_control;
/// Web apps in Chromium, as a person works with them.
mod web_apps;
/// WebSockets need a session and a page of ours, and end with the session.
mod websocket;
