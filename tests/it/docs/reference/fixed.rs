//! The limits that no key changes, as the sources have them.

use std::collections::BTreeSet;

/// What the page says, its number, the source, and the line there.
const FIXED: [(&str, &str, &str, &str); 72] = [
    (
        "header of the PROXY protocol, time",
        "5 s",
        "listener/proxy_protocol.rs",
        "PATIENCE: Duration = Duration::from_secs(5);",
    ),
    (
        "header of the PROXY protocol, size",
        "536 bytes",
        "listener/proxy_protocol.rs",
        "LONGEST_PAYLOAD: usize = 520;",
    ),
    (
        "a connection to the plain listener, in all",
        "15 s",
        "proxy/redirect.rs",
        "LIFETIME: Duration = Duration::from_secs(15);",
    ),
    (
        "requests of one HTTP/2 connection at a time",
        "128",
        "proxy/connection.rs",
        "MAX_STREAMS: u32 = 128;",
    ),
    (
        "after a stop, until a new connection has to ask",
        "2 s",
        "proxy/connection.rs",
        "FIRST_REQUEST: Duration = Duration::from_secs(2);",
    ),
    (
        "average rate of an upload, after 10 s",
        "240 bytes/s",
        "upstream/body.rs",
        "MIN_BYTES_PER_SECOND: u64 = 240;\nconst RATE_GRACE: Duration = Duration::from_secs(10);",
    ),
    (
        "a form of ours (login, logout, account), size",
        "16 KiB",
        "login/form.rs",
        "MAX_BODY: usize = 16 * 1024;",
    ),
    (
        "a form of ours, time",
        "10 s",
        "login/form.rs",
        "TIMEOUT: Duration = Duration::from_secs(10);",
    ),
    (
        "wrong passwords of one account from everywhere",
        "ten times as many",
        "login/throttle.rs",
        "EVERYWHERE: u32 = 10;",
    ),
    (
        "tries of that account above it, by all networks that are new to it",
        "1 each 10 s",
        "login/throttle/shared.rs",
        "EVERY: Duration = Duration::from_secs(10);",
    ),
    (
        "of these, saved up for networks that had none yet (IPv4: /24, IPv6: /48)",
        "4",
        "login/throttle/shared.rs",
        "SAVED: u32 = 4;",
    ),
    (
        "networks of an account that are known after a login",
        "8",
        "login/throttle/known.rs",
        "OF_ACCOUNT: usize = 8;",
    ),
    (
        "how long they are known after the last login",
        "90 days",
        "login/throttle/known.rs",
        "KNOWN_FOR: Duration = Duration::from_hours(90 * 24);",
    ),
    (
        "both of these from an IPv6 /56; from a /48",
        "a fifth more; twice as many",
        "login/throttle.rs",
        "LEVELS: [u32; 3] = [10, 12, 20];",
    ),
    (
        "requests under way, in all",
        "as many as connections",
        "cli/serve/start.rs",
        "Load::new(config.listener.max_connections, ",
    ),
    (
        "the last of them, for who is signed in",
        "a quarter",
        "overload.rs",
        "under_way > max - max / 4",
    ),
    (
        "of one connection, when more than half of them are under way",
        "8",
        "overload.rs",
        "FEW: usize = 8;",
    ),
    (
        "the last connections, for who is signed in",
        "a tenth",
        "overload.rs",
        "open > max - max / 10",
    ),
    (
        "time that whatever is ready waits for a thread, most of a second",
        "50 ms",
        "overload/delay.rs",
        "TARGET: Duration = Duration::from_millis(50);",
    ),
    (
        "how long strangers are turned away for that, at least",
        "5 s",
        "overload/delay.rs",
        "HOLD: Duration = Duration::from_secs(5);",
    ),
    (
        "connections, or HTTP/2 streams, from which that counts",
        "200",
        "overload.rs",
        "MANY: usize = 200;",
    ),
    (
        "part of the memory ceiling that is in use",
        "nine tenths",
        "overload.rs",
        "self.resident > self.ceiling / 10 * 9",
    ),
    (
        "a client that takes nothing, while memory is short",
        "5 s",
        "proxy/activity.rs",
        "PATIENCE_IN_NEED: Duration = Duration::from_secs(5);",
    ),
    (
        "handshakes at a time",
        "one for each core",
        "tls/handshake.rs",
        "available_parallelism().map_or(1, usize::from)",
    ),
    (
        "each connection that there may be, with a request under way",
        "64 KiB",
        "overload/memory.rs",
        "CONNECTION: u64 = 64 * KIB;",
    ),
    (
        "each session that there may be, on disk",
        "100 bytes",
        "session/footprint.rs",
        "ON_DISK: u64 = 100;",
    ),
    (
        "each session in use, up to 50000 of them; 4 KiB more with session data",
        "600 bytes",
        "session/footprint.rs",
        "IN_CACHE: u64 = 600;",
    ),
    (
        "each session in memory (`store = \"memory\"`); 4 KiB more with session data",
        "1 KiB",
        "session/footprint.rs",
        "IN_MEMORY: u64 = 1024;",
    ),
    (
        "pages of the sessions file",
        "8 MiB",
        "session/disk/file.rs",
        "CACHE: usize = 8 * 1024 * 1024;",
    ),
    (
        "a thread that hashes, for each two cores, or what the costliest hash in the users file takes",
        "19 MiB",
        "auth/password.rs",
        "MEMORY_KIB: u32 = 19 * 1024;",
    ),
    (
        "forms that wait for the login",
        "all the room for them",
        "config.rs",
        "forms: self.kept_forms,",
    ),
    (
        "log lines that wait, and as many that are being written; twice that with an audit file",
        "16 MiB",
        "telemetry.rs",
        "2 * queues * queue::CAPACITY",
    ),
    (
        "the program itself",
        "48 MiB",
        "overload/memory.rs",
        "PROGRAM: u64 = 48 * MIB;",
    ),
    (
        "what the throttle remembers: accounts, networks, pairs",
        "100000 each",
        "login/throttle/counters.rs",
        "MAX_ENTRIES: usize = 100_000;",
    ),
    (
        "logins that wait for a hashing thread; networks take turns",
        "64",
        "auth/hashing.rs",
        "QUEUE: usize = 64;",
    ),
    (
        "of these, for one network",
        "as many as are left to all others",
        "network/shares.rs",
        "held == 0 || held + amount <= left",
    ),
    (
        "a new password, at most",
        "1024 bytes",
        "auth/password.rs",
        "MAX_LENGTH: usize = 1024;",
    ),
    (
        "a new password, at least",
        "8 characters",
        "auth/password/weakness.rs",
        "MIN_CHARACTERS: usize = 8;",
    ),
    (
        "a user name",
        "64 characters",
        "auth/users_file.rs",
        "MAX_NAME: usize = 64;",
    ),
    (
        "Argon2 hash from elsewhere, memory",
        "256 MiB",
        "auth/password.rs",
        "MAX_MEMORY_KIB: u32 = 256 * 1024;",
    ),
    (
        "Argon2 hash from elsewhere, passes",
        "16",
        "auth/password.rs",
        "MAX_PASSES: u32 = 16;",
    ),
    (
        "Argon2 hash from elsewhere, lanes",
        "4",
        "auth/password.rs",
        "MAX_LANES: u32 = 4;",
    ),
    (
        "the address to go back to after the login",
        "2048 bytes",
        "login/return_to.rs",
        "MAX: usize = 2048;",
    ),
    (
        "the browser's name, on the account page",
        "256 characters",
        "login.rs",
        "MAX_USER_AGENT: usize = 256;",
    ),
    (
        "one form, its address",
        "2048 bytes",
        "login/lost_form.rs",
        "MAX_TARGET: usize = 2048;",
    ),
    (
        "an answer of the admin socket, each piece",
        "10 s",
        "admin.rs",
        "WRITE_TIMEOUT: Duration = Duration::from_secs(10);",
    ),
    (
        "a request to the metrics listener, head",
        "16 KiB",
        "monitoring.rs",
        "MAX_HEAD: usize = 16 * 1024;",
    ),
    (
        "bcrypt hash from elsewhere, cost",
        "15",
        "auth/password.rs",
        "MAX_BCRYPT_COST: u32 = 15;",
    ),
    (
        "SHA-crypt hash from elsewhere, rounds",
        "1000000",
        "auth/password.rs",
        "MAX_ROUNDS: u32 = 1_000_000;",
    ),
    (
        "an htpasswd file to import",
        "64 MiB",
        "cli/user/import.rs",
        "MAX_SIZE: u64 = 64 * 1024 * 1024;",
    ),
    (
        "free space on the disk of the sessions file",
        "16 MiB",
        "session/disk/writer.rs",
        "RESERVE: u64 = 16 * 1024 * 1024;",
    ),
    (
        "session data, keys",
        "32",
        "session/data.rs",
        "MAX_KEYS: usize = 32;",
    ),
    (
        "session data, size",
        "4 KiB",
        "session/data.rs",
        "MAX_BYTES: usize = 4096;",
    ),
    (
        "one form, size",
        "1 MiB",
        "login/kept_forms.rs",
        "MAX_BODY: usize = 1024 * 1024;",
    ),
    (
        "one form, time to arrive",
        "10 s",
        "login/kept_forms/reading.rs",
        "TIMEOUT: Duration = Duration::from_secs(10);",
    ),
    (
        "of one address, forms",
        "8",
        "login/kept_forms/room.rs",
        "FORMS_OF_ADDRESS: usize = 8;",
    ),
    (
        "of one address, part of all the room",
        "an eighth",
        "login/kept_forms/room.rs",
        "PART_OF_ADDRESS: usize = 8;",
    ),
    (
        "how long one waits",
        "15 min",
        "login/kept_forms.rs",
        "KEPT_FOR: Duration = Duration::from_mins(15);",
    ),
    (
        "the head of its answer, size",
        "128 KiB",
        "upstream/connect.rs",
        "MAX_HEAD: usize = 128 * 1024;",
    ),
    (
        "the head of its answer, fields",
        "256",
        "upstream/connect.rs",
        "MAX_HEADERS: usize = 256;",
    ),
    (
        "an address that could not be connected to is tried last",
        "5 s",
        "upstream/pool.rs",
        "DOWN_FOR: Duration = Duration::from_secs(5);",
    ),
    (
        "log lines that wait for a slow reader",
        "8 MiB",
        "telemetry/queue.rs",
        "CAPACITY: usize = 8 * 1024 * 1024;",
    ),
    (
        "a value from the network in the log",
        "512 characters",
        "telemetry.rs",
        "MAX_FIELD: usize = 512;",
    ),
    (
        "clients of the admin socket at a time",
        "16",
        "admin.rs",
        "MAX_CLIENTS: usize = 16;",
    ),
    (
        "a request to the admin socket, size",
        "4 KiB",
        "admin.rs",
        "MAX_REQUEST: u64 = 4096;",
    ),
    (
        "a request to the admin socket, time",
        "5 s",
        "admin.rs",
        "REQUEST_TIMEOUT: Duration = Duration::from_secs(5);",
    ),
    (
        "clients of the metrics listener at a time",
        "16",
        "monitoring.rs",
        "MAX_CONNECTIONS: usize = 16;",
    ),
    (
        "a request to the metrics listener, in all",
        "15 s",
        "monitoring.rs",
        "LIFETIME: Duration = Duration::from_secs(15);",
    ),
    (
        "`logo`",
        "256 KiB",
        "pages/branding.rs",
        "MAX_LOGO: u64 = 256 * 1024;",
    ),
    (
        "warning before a certificate ends",
        "21 days",
        "tls.rs",
        "WARN_AHEAD: Duration = Duration::from_hours(21 * 24);",
    ),
    (
        "of these, once half are in use, for each user, and for all visitors without a session together",
        "8",
        "upstream/share.rs",
        "FEW: usize = 8;",
    ),
    (
        "of these, once half are in use, for all who want more",
        "a quarter",
        "upstream/share.rs",
        "Semaphore::new((connections / 4).max(1))",
    ),
];

/// The rows of the page, which have to be these, and the sources still to say so.
pub(super) fn assert_same(rows: &BTreeSet<(&str, &str)>) {
    let listed = FIXED.iter().map(|&(what, number, ..)| (what, number));
    assert_eq!(rows, &listed.collect());
    for (what, _, file, line) in FIXED {
        let path = format!("{}/src/{file}", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(path).unwrap();
        assert!(source.contains(line), "{what}: {file} has no {line}");
    }
}
