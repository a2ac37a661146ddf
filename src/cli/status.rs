//! `vestibule status`: how the running server is.

use std::fmt::Write;

use serde::Serialize;

use super::admin_client::foreign;
use super::{ConfigFile, Failure, print};
use crate::admin::protocol::{Done, Health, Occupancy, Request, Status, UsersIn};
use crate::doctor::Finding;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// For programs.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    status: Status,
    #[serde(flatten)]
    health: Health,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let client = args.config.client()?;
    let Done::Status(status) = client.ask(&Request::Status {})?.done? else {
        return Err(foreign());
    };
    let Done::Health(health) = client.ask(&Request::Health {})?.done? else {
        return Err(foreign());
    };
    if !args.json {
        return print(text(&status) + &seen(&health));
    }
    let report = Report {
        status: *status,
        health,
    };
    let json = serde_json::to_string_pretty(&report)
        .map_err(|error| Failure::Failed(format!("cannot write JSON: {error}")))?;
    print(json + "\n")
}

/// A line each.
fn seen(health: &Health) -> String {
    let certificates = health.certificates.iter();
    let certificates = certificates.map(|shown| format!("{:<12} {shown}\n", "certificate"));
    let line = |finding: &Finding| {
        let Finding {
            severity,
            subject,
            message,
            help,
            ..
        } = finding;
        format!("{:<12} {subject}: {message}; {help}\n", severity.as_str())
    };
    let findings = health.findings.iter().map(line);
    certificates.chain(findings).collect()
}

fn text(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String never fails.
        let _ = writeln!(text, "{name:<12} {value}");
    };
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
    if !status.auth_listen.is_empty() {
        line("auth", &status.auth_listen.join(", "));
    }
    if let Some(metrics) = &status.metrics {
        line("metrics", metrics);
    }
    line("connections", &occupancy(&status.connections));
    line("requests", &occupancy(&status.requests));
    let mib = |bytes: usize| bytes.div_ceil(1024 * 1024);
    let Occupancy { open, max } = status.memory;
    line(
        "memory",
        &format!("{} of at most {} MiB", mib(open), mib(max)),
    );
    if let Some(cause) = &status.shedding {
        line(
            "overloaded",
            &format!("{cause}: strangers who ask for most are answered with 503"),
        );
    }
    for (what, largest) in &status.largest {
        let unit = if what == "memory" { " bytes" } else { "" };
        for (of, holders) in [("networks", &largest.networks), ("users", &largest.users)] {
            let holders: Vec<_> = holders
                .iter()
                .map(|holder| format!("{} {}{unit}", holder.name, holder.held))
                .collect();
            if !holders.is_empty() {
                line("most", &format!("{what}, {of}: {}", holders.join(", ")));
            }
        }
    }
    line("sessions", &sessions(status));
    if let Some(nodes) = status.nodes {
        line("nodes", &nodes.to_string());
    }
    line("users", &users(status));
    if status.tokens > 0 {
        line("tokens", &status.tokens.to_string());
    }
    if let Some(reload) = &status.reload {
        let how = match (&reload.error, reload.need_restart.as_slice()) {
            (Some(error), _) => format!("failed at {}: {error}", reload.at),
            (None, []) => format!("done at {}", reload.at),
            (None, keys) => format!("done at {}; need a restart: {}", reload.at, keys.join(", ")),
        };
        line("reload", &how);
    }
    for app in &status.apps {
        if let Some(closed) = &app.maintenance {
            let by = if closed.by == "command" {
                "`app pause`"
            } else {
                "the configuration"
            };
            let sentence = closed.sentence.as_ref();
            let sentence = sentence.map_or_else(String::new, |said| format!(": {said}"));
            line("closed", &format!("{}, by {by}{sentence}", app.name));
        }
        for upstream in &app.upstreams {
            let mut shown = format!("{} -> {}", app.name, upstream.address);
            if !upstream.reachable {
                shown.push_str(": unreachable at the last try");
            }
            if let Some(health) = &upstream.health {
                let last = health.last.as_deref().unwrap_or("not asked yet");
                let _ = write!(shown, ": health check says {}: {last}", health.state);
            }
            line("app", &shown);
        }
        let callers = app.callers.iter().filter(|(_, requests)| **requests > 0);
        let callers: Vec<_> = callers
            .map(|(kind, requests)| format!("{requests} {kind}"))
            .collect();
        if !callers.is_empty() {
            line("callers", &format!("{}: {}", app.name, callers.join(", ")));
        }
    }
    text
}

fn users(status: &Status) -> String {
    let home = match status.users_in {
        UsersIn::Store => ", in the session store",
        UsersIn::File => "",
    };
    format!("{}{home}", status.users)
}

fn occupancy(of: &Occupancy) -> String {
    format!("{} of at most {}", of.open, of.max)
}

fn sessions(status: &Status) -> String {
    let store = &status.store;
    let count = match (status.sessions.open, &status.store_reach) {
        (Some(open), _) => occupancy(&Occupancy {
            open,
            max: status.sessions.max,
        }),
        (None, Some(reach)) if !reach.connected => format!(
            "unknown: the store cannot be reached since {}: {}",
            reach.since,
            reach
                .error
                .as_deref()
                .unwrap_or("there is no connection yet"),
        ),
        (None, reach) => {
            let error = reach.as_ref().and_then(|reach| reach.error.as_deref());
            format!("unknown: {}", error.unwrap_or("the store does not say"))
        }
    };
    match &status.store_reach {
        Some(reach) if !reach.servers.is_empty() => {
            format!("{count}, store {store} ({})", reach.servers.join(", "))
        }
        _ => format!("{count}, store {store}"),
    }
}
