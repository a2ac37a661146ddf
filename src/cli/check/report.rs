//! Has everything looked at, and says what was seen.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use serde_json::json;

use super::facts;
use crate::admin::protocol::{Done, Request, Status};
use crate::cli::Failure;
use crate::cli::admin_client::Client;
use crate::clock::Clock;
use crate::config::Config;
use crate::doctor::address::{self, Holder, Wanted};
use crate::doctor::permission::Perspective;
use crate::doctor::{self, Examination, Examiner, Finding, Severity};
use crate::listener::AuthAddress;
use crate::pages::Pages;

/// Whoever waits longer is told for what.
const MOMENT: Duration = Duration::from_millis(700);

/// A running server says at once where it listens, or is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is to be said of a configuration.
pub(super) struct Report<'a> {
    pub(super) config: &'a Config,
    path: &'a Path,
    pub(super) addresses: Vec<(Wanted, Holder)>,
    pub(super) examination: Examination,
    findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    pub(super) fn make(config: &'a Config, path: &'a Path) -> Result<Self, Failure> {
        let mut examination = examine(config)?;
        let (addresses, in_the_way) = address::examine(&wanted(config), &served(config));
        let mut findings = std::mem::take(&mut examination.findings);
        findings.extend(in_the_way);
        if let Err(error) = Pages::new(&config.branding, config.session.remember_for) {
            let help = "correct it, or leave the key out";
            findings.push(Finding::error("the pages", error.to_string(), help));
        }
        doctor::sort(&mut findings);
        Ok(Self {
            config,
            path,
            addresses,
            examination,
            findings,
        })
    }

    /// All of it in a line: an error when the service does not start, or nobody can use it.
    pub(super) fn verdict(&self) -> Result<String, String> {
        let path = self.path.display();
        let errors = |one: &Finding| one.severity == Severity::Error;
        match doctor::counted(&self.findings) {
            None => Ok(format!("{path}: ok")),
            Some(counted) if self.findings.iter().any(errors) => Err(format!("{path}: {counted}")),
            Some(counted) => Ok(format!("{path}: ok, {counted}")),
        }
    }

    /// Facts, then findings; the verdict last, where it is a good one.
    pub(super) fn text(&self) -> String {
        let mut text = facts::text(self);
        for finding in &self.findings {
            text.push('\n');
            text.push_str(&shown(finding, self.path));
        }
        if let Ok(verdict) = self.verdict() {
            // Writing to a String never fails.
            let _ = writeln!(text, "\n{verdict}");
        }
        text
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let mut report = facts::json(self);
        report["ok"] = json!(self.verdict().is_ok());
        report["findings"] = json!(self.findings);
        report
    }
}

/// As problems of the configuration are shown.
pub(super) fn shown(finding: &Finding, path: &Path) -> String {
    let Finding {
        severity,
        subject,
        line,
        message,
        help,
    } = finding;
    let place = line.map_or_else(String::new, |line| format!("{}:{line}: ", path.display()));
    let severity = severity.as_str();
    format!("{place}{severity}: {subject}: {message}\n      help: {help}\n")
}

fn examine(config: &Config) -> Result<Examination, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    let settings = config.examined(Perspective::Person);
    let examination = runtime.block_on(async {
        let examiner = Examiner::new().telling(|looked_at, all| {
            eprintln!("vestibule: {looked_at} of {all} records of users looked at so far");
        });
        let mut examining = pin!(examiner.examine(&settings, Clock::system().now()));
        tokio::select! {
            biased;
            examination = &mut examining => return examination,
            () = tokio::time::sleep(MOMENT) => {}
        }
        if io::stderr().is_terminal() {
            eprintln!("connecting to the applications, for 5 seconds at most");
        }
        examining.await
    });
    // A name server that does not answer is not waited for.
    runtime.shutdown_background();
    examination.ok_or_else(|| {
        let Finding { message, help, .. } = doctor::too_slow();
        Failure::Failed(format!("the files {message}; {help}"))
    })
}

fn wanted(config: &Config) -> Vec<Wanted> {
    let lines = config.lines;
    let wanted = |key, line, addresses: &[SocketAddr]| {
        let wanted = |&address| Wanted { address, key, line };
        addresses.iter().map(wanted).collect::<Vec<_>>()
    };
    let auth = config.listener.auth.iter().filter_map(AuthAddress::tcp);
    let auth: Vec<_> = auth.collect();
    [
        wanted("server.listen", lines.listen, &config.listener.listen),
        wanted(
            "server.redirect_http",
            lines.redirect_http,
            &config.listener.redirect_http,
        ),
        wanted("server.auth_listen", lines.auth_listen, &auth),
        wanted("admin.metrics", lines.metrics, config.metrics.as_slice()),
    ]
    .concat()
}

/// Where the running server listens; nowhere, if none answers.
fn served(config: &Config) -> Vec<SocketAddr> {
    let asked = Client::new(config).and_then(|client| {
        let answer = client.with_timeout(PATIENCE).ask(&Request::Status {})?;
        answer.done
    });
    let Ok(Done::Status(status)) = asked else {
        return Vec::new();
    };
    let Status {
        listen,
        redirect_http,
        auth_listen,
        metrics,
        ..
    } = *status;
    let served = listen.iter().chain(&redirect_http).chain(&auth_listen);
    let served = served.chain(&metrics);
    served.filter_map(|address| address.parse().ok()).collect()
}
