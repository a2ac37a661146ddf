//! Requests that `vestibule check --through` sends through the proxy in front, and what the server
//! has read of them. They reach no app, and are signed with the secret of one run: nobody else can
//! have a request noted, or learn from the answer how it was read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::clock::{Clock, Timestamp};
use crate::random::{NoRandomness, random};
use crate::secret::Secret;

/// The field of the signed number.
pub(crate) const PROBE: HeaderName = HeaderName::from_static("vestibule-probe");

/// A run that was broken off is over after this.
const LASTS: Duration = Duration::from_mins(2);

/// Of a run: a server holds some MiB for it, however it is asked.
pub(crate) const MAX_PROBES: u32 = 1_000;

/// Of one probe: a proxy may ask twice, for its own reasons.
const MAX_READINGS: usize = 4;

/// Bytes of the longest signed number.
const MAX_FIELD: usize = 64;

/// Bytes of each text of a reading.
const MAX_TEXT: usize = 512;

/// The secret of a run.
#[derive(Clone)]
pub(crate) struct ProbeKey(Secret<[u8; 32]>);

impl ProbeKey {
    fn new() -> Result<Self, NoRandomness> {
        random().map(|key| Self(Secret::new(key)))
    }

    /// As the admin socket carries it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(Secret::new(bytes.try_into().ok()?)))
    }

    /// The same text.
    pub(crate) fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.expose())
    }

    /// What the field of this probe has.
    pub(crate) fn sign(&self, number: u32) -> String {
        let mac = self.mac(number).finalize().into_bytes();
        format!("{number}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    fn verify(&self, signed: &str) -> Option<u32> {
        let (number, mac) = signed.split_once('.')?;
        let number = number.parse().ok()?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        self.mac(number).verify_slice(&mac).ok()?;
        (number < MAX_PROBES).then_some(number)
    }

    fn mac(&self, number: u32) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose()).expect("any length will do");
        mac.update(&number.to_be_bytes());
        mac
    }
}

/// How a probe has arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// As a request for an app.
    Forwarded,
    /// As a request for one of our own pages.
    OwnPage,
    /// As an auth request of this kind of proxy.
    Asked(String),
}

/// What was read of a probe, as the decision would have had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) way: Way,
    /// `None` where a trusted proxy would not say.
    pub(crate) client: Option<String>,
    pub(crate) method: String,
    pub(crate) host: String,
    /// Path and query.
    pub(crate) target: String,
    /// Where the proxy in front names the request.
    pub(crate) request_id: Option<String>,
    /// Why it would have been refused, whoever asks.
    pub(crate) refused: Option<String>,
}

impl Reading {
    fn bounded(mut self) -> Self {
        let texts = [&mut self.method, &mut self.host, &mut self.target];
        let texts = texts.into_iter();
        for text in texts.chain(&mut self.request_id).chain(&mut self.refused) {
            if text.len() > MAX_TEXT {
                text.truncate(text.floor_char_boundary(MAX_TEXT));
            }
        }
        self
    }
}

/// What one run has seen, by the number of the probe.
pub(crate) type Readings = BTreeMap<u32, Vec<Reading>>;

/// The run of the server; there is one at a time.
pub(crate) struct Probes {
    /// Whether there is one: all that a common request looks at.
    is_open: AtomicBool,
    run: Mutex<Option<Run>>,
    clock: Clock,
}

struct Run {
    key: ProbeKey,
    until: Timestamp,
    readings: Readings,
}

/// Why there are no readings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoSuchRun;

impl Probes {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            is_open: AtomicBool::new(false),
            run: Mutex::default(),
            clock,
        }
    }

    /// Begins a run; one before it is over, with what it has seen.
    pub(crate) fn begin(&self) -> Result<ProbeKey, NoRandomness> {
        let key = ProbeKey::new()?;
        *self.run() = Some(Run {
            key: key.clone(),
            until: self.clock.now().plus(LASTS),
            readings: Readings::default(),
        });
        self.is_open.store(true, Ordering::Relaxed);
        Ok(key)
    }

    /// Ends the run of this key, and gives what it has seen.
    pub(crate) fn end(&self, key: &str) -> Result<Readings, NoSuchRun> {
        let mut run = self.run();
        self.end_if_over(&mut run);
        let ended = run.take_if(|run| run.key.to_text() == key);
        self.is_open.store(run.is_some(), Ordering::Relaxed);
        ended.map(|run| run.readings).ok_or(NoSuchRun)
    }

    /// The number of a probe of the run.
    #[inline]
    pub(crate) fn number(&self, headers: &HeaderMap) -> Option<u32> {
        if !self.is_open.load(Ordering::Relaxed) {
            return None;
        }
        self.verified(headers)
    }

    fn verified(&self, headers: &HeaderMap) -> Option<u32> {
        let mut fields = headers.get_all(PROBE).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return None;
        };
        let field = field.to_str().ok().filter(|it| it.len() <= MAX_FIELD)?;
        let key = {
            let mut run = self.run();
            self.end_if_over(&mut run);
            run.as_ref()?.key.clone()
        };
        key.verify(field)
    }

    fn end_if_over(&self, run: &mut Option<Run>) {
        if run.take_if(|run| run.until <= self.clock.now()).is_some() {
            self.is_open.store(false, Ordering::Relaxed);
        }
    }

    /// Notes how a probe of the run was read.
    pub(crate) fn note(&self, number: u32, reading: Reading) {
        if let Some(run) = self.run().as_mut() {
            let readings = run.readings.entry(number).or_default();
            if readings.len() < MAX_READINGS {
                readings.push(reading.bounded());
            }
        }
    }

    fn run(&self) -> MutexGuard<'_, Option<Run>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
