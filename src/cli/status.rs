//! `vestibule status`: how the running server is.

use std::fmt::Write;

use super::admin_client::{Client, foreign};
use super::{ConfigFile, Failure, print};
use crate::admin::protocol::{Done, Request, Share, Status};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let client = Client::new(&args.config.load()?)?;
    let Done::Status(status) = client.ask(&Request::Status {})?.done? else {
        return Err(foreign());
    };
    if !args.json {
        return print(text(&status));
    }
    let json = serde_json::to_string_pretty(&status)
        .map_err(|error| Failure::Failed(format!("cannot write JSON: {error}")))?;
    print(json + "\n")
}

fn text(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String never fails.
        let _ = writeln!(text, "{name:<12} {value}");
    };
    let share = |share: &Share| format!("{} of at most {}", share.open, share.max);
    line("version", &status.version);
    line("process", &status.pid.to_string());
    line(
        "state",
        if status.stopping {
            "stopping"
        } else {
            "running"
        },
    );
    line("since", &status.started);
    line("https", &status.listen.join(", "));
    if !status.redirect_http.is_empty() {
        line("http", &status.redirect_http.join(", "));
    }
    line("connections", &share(&status.connections));
    line("requests", &share(&status.requests));
    let mib = |bytes: usize| bytes.div_ceil(1024 * 1024);
    let Share { open, max } = status.memory;
    line(
        "memory",
        &format!("{} of at most {} MiB", mib(open), mib(max)),
    );
    if let Some(cause) = &status.shedding {
        line(
            "overloaded",
            &format!("{cause}: requests without a session are answered with 503"),
        );
    }
    line(
        "sessions",
        &format!("{}, store {}", share(&status.sessions), status.store),
    );
    line("users", &status.users.to_string());
    if let Some(reload) = &status.reload {
        let how = match (&reload.error, reload.need_restart.as_slice()) {
            (Some(error), _) => format!("failed at {}: {error}", reload.at),
            (None, []) => format!("done at {}", reload.at),
            (None, keys) => format!("done at {}; need a restart: {}", reload.at, keys.join(", ")),
        };
        line("reload", &how);
    }
    for app in &status.apps {
        for upstream in &app.upstreams {
            let state = if upstream.reachable {
                ""
            } else {
                ": unreachable at the last try"
            };
            line(
                "app",
                &format!("{} -> {}{state}", app.name, upstream.address),
            );
        }
    }
    text
}
