//! Apps that are closed for maintenance: by their configuration, or by `vestibule app pause` until
//! the next restart.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::access::UserNames;
use crate::error::RequestError;
use crate::principal::{Identity, Principal};

/// Characters. More would be a page of its own.
const LONGEST: usize = 500;

/// What visitors read while an app is closed: a line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sentence(Arc<str>);

/// Why a text is no sentence for visitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSentence {
    ControlCharacter,
    Empty,
    TooLong,
}

impl Sentence {
    pub(crate) fn parse(text: &str) -> Result<Self, NoSentence> {
        if text.trim().is_empty() {
            Err(NoSentence::Empty)
        } else if text.chars().any(char::is_control) {
            Err(NoSentence::ControlCharacter)
        } else if text.chars().count() > LONGEST {
            Err(NoSentence::TooLong)
        } else {
            Ok(Self(text.into()))
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NoSentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ControlCharacter => {
                f.write_str("a control character or line break in the sentence")
            }
            Self::Empty => f.write_str("the sentence is empty"),
            Self::TooLong => write!(f, "the sentence is longer than {LONGEST} characters"),
        }
    }
}

/// `maintenance` and `maintenance_allow` of an app.
#[derive(Clone, Debug, Default)]
pub(crate) struct MaintenanceSettings {
    /// The app is closed, and visitors read this.
    pub(crate) sentence: Option<Sentence>,
    /// Users who may go on.
    pub(crate) exempt: Exempt,
}

/// Users whom maintenance does not keep out; the rules hold for them as ever.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exempt {
    pub(crate) groups: Vec<String>,
    pub(crate) users: UserNames,
}

impl Exempt {
    pub(crate) fn has(&self, user: &Identity) -> bool {
        user.is_in_any(&self.groups) || self.users.contain(user.user())
    }
}

/// Whether an app is closed, and for whom.
pub(super) struct Maintenance {
    settings: MaintenanceSettings,
    pause: Arc<Pause>,
}

/// What a command said of an app.
#[derive(Default)]
pub(super) struct Pause {
    is_on: AtomicBool,
    sentence: Mutex<Option<Sentence>>,
}

/// The pauses of all apps, by name. They outlive configurations.
#[derive(Default)]
pub(super) struct Pauses(Mutex<HashMap<Arc<str>, Arc<Pause>>>);

/// Why an app is closed.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) by_command: bool,
    pub(crate) sentence: Option<Sentence>,
}

impl Pauses {
    fn of_app(&self, name: &Arc<str>) -> Arc<Pause> {
        let mut pauses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pauses.entry(Arc::clone(name)).or_default())
    }
}

impl Pause {
    fn sentence(&self) -> MutexGuard<'_, Option<Sentence>> {
        self.sentence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maintenance {
    pub(super) fn new(settings: MaintenanceSettings, name: &Arc<str>, pauses: &Pauses) -> Self {
        Self {
            settings,
            pause: pauses.of_app(name),
        }
    }

    fn is_on(&self) -> bool {
        self.settings.sentence.is_some() || self.pause.is_on.load(Ordering::Acquire)
    }

    /// Refuses everyone but the exempt while the app is closed.
    pub(super) fn check(&self, principal: Option<&Principal>) -> Result<(), RequestError> {
        let is_exempt = |who: &Principal| self.settings.exempt.has(who.identity());
        if self.is_on() && !principal.is_some_and(is_exempt) {
            return Err(RequestError::Maintenance);
        }
        Ok(())
    }

    /// Whether the configuration closes the app, whatever commands say.
    pub(super) fn is_configured(&self) -> bool {
        self.settings.sentence.is_some()
    }

    /// `None` while the app is open. What a command says comes first: it is newer.
    pub(super) fn closed(&self) -> Option<Closed> {
        let configured = self.settings.sentence.clone();
        let by_command = self.pause.is_on.load(Ordering::Acquire);
        if !by_command && configured.is_none() {
            return None;
        }
        let said = by_command.then(|| self.pause.sentence().clone()).flatten();
        Some(Closed {
            by_command,
            sentence: said.or(configured),
        })
    }

    pub(super) fn pause(&self, sentence: Option<Sentence>) {
        *self.pause.sentence() = sentence;
        self.pause.is_on.store(true, Ordering::Release);
    }

    /// Whether it was paused.
    pub(super) fn resume(&self) -> bool {
        self.pause.is_on.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_a_line_of_text() {
        for (text, expected) in [
            ("We are back at six.", None),
            ("<b>&\u{e4}", None),
            ("", Some(NoSentence::Empty)),
            (" ", Some(NoSentence::Empty)),
            ("a\nb", Some(NoSentence::ControlCharacter)),
            ("\u{1b}[31m", Some(NoSentence::ControlCharacter)),
            (&"\u{e4}".repeat(500), None),
            (&"x".repeat(501), Some(NoSentence::TooLong)),
        ] {
            assert_eq!(Sentence::parse(text).err(), expected, "{text}");
        }
    }

    #[test]
    fn a_command_closes_an_app_over_configurations_and_opens_what_it_closed() {
        let pauses = Pauses::default();
        let name: Arc<str> = "wiki".into();
        let sentence = |text: &str| Sentence::parse(text).ok();
        let app = |configured: &str| {
            let settings = MaintenanceSettings {
                sentence: sentence(configured),
                exempt: Exempt::default(),
            };
            Maintenance::new(settings, &name, &pauses)
        };
        let said = |app: &Maintenance| {
            app.closed()
                .map(|closed| (closed.by_command, closed.sentence))
        };
        let before = app("");
        assert!(before.check(None).is_ok() && said(&before).is_none());
        before.pause(sentence("Paused."));
        let after = app("");
        assert!(after.check(None).is_err());
        assert_eq!(said(&after), Some((true, sentence("Paused."))));
        let configured = app("Configured.");
        assert_eq!(said(&configured), Some((true, sentence("Paused."))));
        after.pause(None);
        assert_eq!(said(&configured), Some((true, sentence("Configured."))));
        assert!(after.resume() && !after.resume());
        assert!(before.check(None).is_ok());
        assert_eq!(said(&configured), Some((false, sentence("Configured."))));
        assert!(configured.check(None).is_err() && configured.is_configured());
    }
}
