//! Apps that are closed and opened while the service runs.

use std::sync::{Arc, PoisonError};

use super::Service;
use crate::proxy::maintenance::{Closed, Sentence};
use crate::source_text::nearest;

/// There is no app of this name.
#[derive(Debug)]
pub(crate) struct UnknownApp {
    /// What was probably meant.
    pub(crate) nearest: Option<String>,
}

/// Why an app is not open after all.
#[derive(Debug)]
pub(crate) enum NotResumed {
    UnknownApp(UnknownApp),
    /// Its configuration closes it, whether or not it was paused besides.
    Configured {
        was_paused: bool,
    },
}

impl Service {
    /// Closes an app for all but those that its configuration exempts; their streams end. It stays
    /// closed over reloads, until it is resumed or the service restarts.
    pub(crate) fn pause(&self, app: &str, sentence: Option<Sentence>) -> Result<(), UnknownApp> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let proxy = self.proxy();
        let Some(app) = proxy.apps.named(app) else {
            return Err(self.unknown(app));
        };
        app.maintenance.pause(sentence);
        // Whatever is in flight is judged again, as after a change of the configuration (SEC-89).
        self.shared.renumber(&proxy);
        proxy.judge_streams();
        Ok(())
    }

    /// Opens an app again. Whether it was paused.
    pub(crate) fn resume(&self, app: &str) -> Result<bool, NotResumed> {
        let proxy = self.proxy();
        let Some(app) = proxy.apps.named(app) else {
            return Err(NotResumed::UnknownApp(self.unknown(app)));
        };
        let was_paused = app.maintenance.resume();
        if app.maintenance.is_configured() {
            return Err(NotResumed::Configured { was_paused });
        }
        Ok(was_paused)
    }

    /// Each app that is closed, by name.
    pub(crate) fn closed(&self) -> Vec<(Arc<str>, Closed)> {
        let proxy = self.proxy();
        let closed = proxy
            .apps
            .iter()
            .filter_map(|app| Some((Arc::clone(&app.name), app.maintenance.closed()?)));
        closed.collect()
    }

    pub(super) fn unknown(&self, name: &str) -> UnknownApp {
        let proxy = self.proxy();
        let known = proxy.apps.iter().map(|app| &*app.name);
        UnknownApp {
            nearest: nearest(name, known).map(str::to_owned),
        }
    }
}
