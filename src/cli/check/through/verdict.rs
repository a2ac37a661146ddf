//! What the server has read, beside what was sent.

mod help;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::super::report::shown;
use super::Front;
use super::send::Response;
use super::spoofs::{self, About, Probe};
use crate::cli::Failure;
use crate::doctor::{self, Finding};
use crate::probe::{Reading, Readings, Way};
use crate::request::{AllowInPath, normal_path};
use crate::telemetry::printable;
use help::Product;

/// Examples in a sentence; `--json` has all of them.
const SHOWN: usize = 6;

/// What proxies themselves answer to a request that they refuse.
const OF_PROXIES: [u16; 5] = [400, 403, 405, 414, 421];

/// Added where the server does not know the address of an honest request either.
const OR_THIS: &str = "; or this command itself comes from an address in `trusted_proxies`: name \
                       another one of this machine by --from";

/// Whether clients choose anything that they are judged by.
#[derive(Debug, Serialize)]
pub(in crate::cli::check) struct Verdict {
    ok: bool,
    through: String,
    /// The proxy in front, as far as it says who it is.
    proxy: Option<&'static str>,
    /// Where requests reach Vestibule as auth requests.
    forward_auth: bool,
    /// Where this command counts as coming from.
    client: Option<String>,
    sent: usize,
    /// That reached the server.
    read: usize,
    /// Paths that the proxy in front changes, as sent and as read.
    rewritten: Vec<(String, String)>,
    /// What clients choose, by the requests that showed it.
    effects: BTreeMap<Effect, Vec<String>>,
    findings: Vec<Finding>,
    #[serde(skip)]
    product: Product,
}

/// What a client could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Effect {
    /// Choose its address.
    Client,
    /// Choose the host that its request is judged for.
    Host,
    /// The same of the method.
    Method,
    /// And of the path.
    Path,
    /// Get an answer without Vestibule.
    Unasked,
    /// Never see the login, since our own pages cannot be reached.
    OwnPages,
    /// Choose how the request is named in the log.
    RequestId,
}

impl Verdict {
    /// Fails where nothing can be said.
    pub(super) fn of(
        front: &Front,
        probes: &[Probe],
        responses: &[Option<Response>],
        readings: &Readings,
    ) -> Result<Self, Failure> {
        let of = |number: u32| readings.get(&number).map_or(&[][..], Vec::as_slice);
        let (Some(baseline), Some(Some(first))) = (of(0).first(), responses.first()) else {
            let status = responses.first().and_then(|it| Some(it.as_ref()?.status));
            return Err(unseen(front, status));
        };
        if let Some(refused) = &baseline.refused {
            return Err(Failure::Failed(format!(
                "an honest request for {} is refused already: {refused}; name an address of an app",
                front.url()
            )));
        }
        let product = Product::of(&baseline.way, first.product.as_deref());
        let mut verdict = Self {
            ok: true,
            through: front.url(),
            proxy: product.name(),
            forward_auth: matches!(baseline.way, Way::Asked(_)),
            client: baseline.client.clone(),
            sent: probes.len(),
            read: readings.len(),
            rewritten: Vec::new(),
            effects: BTreeMap::new(),
            findings: Vec::new(),
            product,
        };
        for ((number, probe), response) in (0..).zip(probes).zip(responses) {
            let own_page = of(1).iter().find(|reading| reading.way == Way::OwnPage);
            let honest = |way: &Way| match way {
                Way::OwnPage => own_page.unwrap_or(baseline),
                Way::Asked(_) | Way::Forwarded => baseline,
            };
            verdict.judge(probe, response.as_ref(), honest, of(number));
        }
        verdict.findings = verdict.make_findings();
        verdict.ok = verdict.findings.is_empty();
        Ok(verdict)
    }

    /// `honest` is how a request without any spoof was read that came the same way.
    fn judge<'r>(
        &mut self,
        probe: &Probe,
        response: Option<&Response>,
        honest: impl Fn(&Way) -> &'r Reading,
        readings: &'r [Reading],
    ) {
        let mut shows = |effect| {
            let examples = self.effects.entry(effect).or_default();
            if examples.last() != Some(&probe.shown()) {
                examples.push(probe.shown());
            }
        };
        if probe.about == About::OwnPage {
            if !readings.iter().any(|reading| reading.way == Way::OwnPage) {
                shows(Effect::OwnPages);
            }
            return;
        }
        // An absolute target names another host, which the proxy may serve itself.
        if readings.is_empty()
            && probe.target.starts_with(b"/")
            && response.is_some_and(|response| !OF_PROXIES.contains(&response.status))
        {
            shows(Effect::Unasked);
        }
        for read in readings {
            let (sent, arrived) = (probe.path(), path_of(&read.target));
            // The server has no such host, path or method, perhaps, but an attacker knows others.
            if read.refused.is_some() {
                if !probe.target.starts_with(b"/") {
                    continue;
                }
                if read.host == spoofs::HOST {
                    shows(Effect::Host);
                }
                if read.method == spoofs::METHOD {
                    shows(Effect::Method);
                }
                if arrived.starts_with(spoofs::PATH) {
                    shows(Effect::Path);
                }
                continue;
            }
            let baseline = honest(&read.way);
            if read.client != baseline.client {
                shows(Effect::Client);
            }
            if !read.host.eq_ignore_ascii_case(&baseline.host) {
                shows(Effect::Host);
            }
            if read.method != probe.method {
                shows(Effect::Method);
            }
            if read.request_id.as_deref() == Some(spoofs::REQUEST_ID) {
                shows(Effect::RequestId);
            }
            if arrived.starts_with(spoofs::PATH) && !sent.starts_with(spoofs::PATH) {
                shows(Effect::Path);
            } else if normal(&sent).is_none_or(|sent| normal(arrived) != Some(sent)) {
                let rewritten = (probe.shown(), printable(&read.target).to_string());
                self.rewritten.push(rewritten);
            }
        }
    }

    fn make_findings(&self) -> Vec<Finding> {
        let finding = |(effect, examples): (&Effect, &Vec<String>)| {
            let shown = examples
                .iter()
                .take(SHOWN)
                .map(|shown| format!("`{shown}`"));
            let mut shown = shown.collect::<Vec<_>>().join(", ");
            if let more @ 1.. = examples.len().saturating_sub(SHOWN) {
                let _ = write!(shown, " and {more} more");
            }
            let (message, mut help) = help::of(*effect, self.product, self.forward_auth);
            if *effect == Effect::Client && self.client.is_none() {
                help.push_str(OR_THIS);
            }
            Finding::error(effect.subject(), format!("{message}: {shown}"), help)
        };
        self.effects.iter().map(finding).collect()
    }

    /// Facts, then findings.
    pub(in crate::cli::check) fn text(&self) -> String {
        let mut text = self.facts();
        for finding in &self.findings {
            text.push('\n');
            text.push_str(&shown(finding, Path::new("")));
        }
        if self.ok {
            text.push_str("\nclients choose nothing that they are judged by\n");
        }
        text
    }

    pub(in crate::cli::check) fn result(&self) -> Result<(), Failure> {
        match doctor::counted(&self.findings) {
            None => Ok(()),
            Some(counted) => Err(Failure::Failed(format!("{}: {counted}", self.through))),
        }
    }

    /// A line each.
    fn facts(&self) -> String {
        let proxy = self.proxy.unwrap_or("a proxy that does not say its name");
        let way = if self.forward_auth {
            "asks by forward auth"
        } else {
            "forwards to `listen`"
        };
        let client = (self.client.as_deref()).unwrap_or("not known to the server");
        let mut text = format!(
            "through  {}\nproxy    {proxy}, {way}\nclient   {client}\nsent     {} requests, of which {} reached Vestibule\n",
            self.through, self.sent, self.read
        );
        for (sent, read) in &self.rewritten {
            // Writing to a String never fails.
            let _ = writeln!(text, "changed  {sent} into {read}");
        }
        text
    }
}

impl Effect {
    fn subject(self) -> &'static str {
        match self {
            Self::Client => "address of the client",
            Self::Host => "host",
            Self::Method => "method",
            Self::Path => "path",
            Self::Unasked => "requests that Vestibule never sees",
            Self::OwnPages => "login",
            Self::RequestId => "request id",
        }
    }
}

impl Front {
    fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.folder)
    }
}

impl Probe {
    /// For people: the field, or the path.
    fn shown(&self) -> String {
        match &self.about {
            About::Field(field) | About::FieldOfOwnPage(field) => field.clone(),
            _ => printable(&String::from_utf8_lossy(&self.target)).to_string(),
        }
    }

    /// Without what comes after it.
    fn path(&self) -> String {
        let target = String::from_utf8_lossy(&self.target);
        let target = target.split('#').next().unwrap_or_default();
        path_of(target).to_owned()
    }
}

fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

fn normal(path: &str) -> Option<String> {
    let path = normal_path(path, AllowInPath::default()).ok()?;
    Some(path.into_owned())
}

fn unseen(front: &Front, status: Option<u16>) -> Failure {
    let answered = match status {
        Some(status) => format!("answered with {status}"),
        None => String::from("gave no answer"),
    };
    let url = front.url();
    Failure::Failed(format!(
        "{url} {answered}, and the server saw nothing of it: is that the address of the proxy in \
         front of this server, and does the proxy pass `Vestibule-Probe` on?"
    ))
}
