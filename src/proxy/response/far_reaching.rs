//! Headers by which an application reaches beyond itself (SEC-90).
//!
//! An application shares its origin with our pages, and its domain with its siblings: a service
//! worker over `/` would answer in place of our login, and `Clear-Site-Data: "cookies"` signs
//! visitors out of every host of the domain (W3C Clear Site Data §4.2.2).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::clock::Clock;

/// One line an hour says it for each of them, not one an answer.
const LOG_EVERY: Duration = Duration::from_hours(1);

/// One of these headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FarReaching {
    /// Leads visitors to another server (RFC 7838), past the login.
    AltSvc,
    /// Of it, what clears cookies; the rest concerns this origin alone.
    ClearSiteData,
    /// Reports of every request of this host, ours included, go where it says; so do the next two.
    Nel,
    ReportTo,
    ReportingEndpoints,
    /// Lets a service worker answer for more than the folder of its script.
    ServiceWorkerAllowed,
}

/// What one application may say of them, and when the log was told last that it did not pass.
#[derive(Debug)]
pub(in crate::proxy) struct FarReachingHeaders {
    allowed: Vec<FarReaching>,
    clock: Clock,
    /// Milliseconds of the clock, by the place in [`FarReaching::ALL`]; 0 is never.
    logged: [AtomicU64; FarReaching::ALL.len()],
}

impl FarReaching {
    const ALL: [Self; 6] = [
        Self::AltSvc,
        Self::ClearSiteData,
        Self::Nel,
        Self::ReportTo,
        Self::ReportingEndpoints,
        Self::ServiceWorkerAllowed,
    ];

    fn of(name: &HeaderName) -> Option<Self> {
        let name = name.as_str();
        // Of the headers that applications send, hardly one gets past this line.
        if !matches!(
            name.as_bytes(),
            [b'a' | b'c', b'l', ..] | [b'n' | b'r' | b's', b'e', ..]
        ) {
            return None;
        }
        Self::ALL.into_iter().find(|header| header.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::AltSvc => "alt-svc",
            Self::ClearSiteData => "clear-site-data",
            Self::Nel => "nel",
            Self::ReportTo => "report-to",
            Self::ReportingEndpoints => "reporting-endpoints",
            Self::ServiceWorkerAllowed => "service-worker-allowed",
        }
    }

    /// The key of the app that lets it pass; nothing lets the others.
    fn key(self) -> Option<&'static str> {
        match self {
            Self::ClearSiteData => Some("allow_response = [\"clear-site-data\"]"),
            Self::ServiceWorkerAllowed => Some("allow_response = [\"service-worker-allowed\"]"),
            Self::AltSvc | Self::Nel | Self::ReportTo | Self::ReportingEndpoints => None,
        }
    }
}

impl FarReachingHeaders {
    pub(in crate::proxy) fn new(allowed: Vec<FarReaching>, clock: Clock) -> Self {
        Self {
            allowed,
            clock,
            logged: Default::default(),
        }
    }

    /// Drops what this application may not say. Most answers have none of it, and are only looked
    /// through.
    pub(in crate::proxy) fn drop_from(&self, headers: &mut HeaderMap, app: &str) {
        let mut found = [false; FarReaching::ALL.len()];
        for header in headers.keys().filter_map(FarReaching::of) {
            found[header as usize] = !self.allowed.contains(&header);
        }
        for header in FarReaching::ALL {
            if found[header as usize] && drop_one(headers, header) {
                self.log(header, app);
            }
        }
    }

    fn log(&self, header: FarReaching, app: &str) {
        let logged = &self.logged[header as usize];
        let now = self.clock.now().as_millis();
        let before = logged.load(Ordering::Relaxed);
        let due = before == 0 || u128::from(now.saturating_sub(before)) >= LOG_EVERY.as_millis();
        let mine = due
            && logged
                .compare_exchange(before, now.max(1), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !mine {
            return;
        }
        let name = header.name();
        if let Some(key) = header.key() {
            tracing::warn!(
                app,
                header = name,
                key,
                "a header of the application was dropped: it reaches beyond the app"
            );
        } else {
            tracing::info!(
                app,
                header = name,
                "a header of the application was dropped: it reaches beyond the app"
            );
        }
    }
}

/// Drops the header, or the part of it that reaches too far; whether there was one.
fn drop_one(headers: &mut HeaderMap, header: FarReaching) -> bool {
    let name = HeaderName::from_static(header.name());
    if header != FarReaching::ClearSiteData {
        return headers.remove(name).is_some();
    }
    let lines = headers.get_all(&name).iter();
    let sent: Vec<_> = lines
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|directive| !directive.is_empty())
        .collect();
    let kept: Vec<_> = sent
        .iter()
        .copied()
        .filter(|directive| stays_in_the_origin(directive))
        .collect();
    if kept.len() == sent.len() && !kept.is_empty() {
        return false;
    }
    // Cookies and storage are what an app remembers of somebody: half of it cleared would leave it
    // with the one's session and without the other's data.
    let kept: Vec<_> = kept
        .into_iter()
        .filter(|directive| !directive.starts_with(b"\"storage"))
        .collect();
    match HeaderValue::from_bytes(&kept.join(&b", "[..])) {
        Ok(value) if !kept.is_empty() => drop(headers.insert(name, value)),
        _ => drop(headers.remove(name)),
    }
    true
}

/// Whether a directive of `Clear-Site-Data` is known, spelled as browsers take it, and clears
/// nothing that other hosts share. `"cookies"` and `"*"` clear the cookies of the whole domain;
/// what a later browser might take for one of them does not pass, either.
fn stays_in_the_origin(directive: &[u8]) -> bool {
    const KNOWN: [&[u8]; 6] = [
        b"\"cache\"",
        b"\"clientHints\"",
        b"\"executionContexts\"",
        b"\"prefetchCache\"",
        b"\"prerenderCache\"",
        b"\"storage\"",
    ];
    let of_a_bucket = || {
        let name = directive.strip_prefix(b"\"storage:")?.strip_suffix(b"\"")?;
        let plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        Some(!name.is_empty() && name.iter().all(plain))
    };
    KNOWN.contains(&directive) || of_a_bucket().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(allowed: &[FarReaching], fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let app = FarReachingHeaders::new(allowed.to_vec(), Clock::system());
        app.drop_from(&mut headers, "wiki");
        let left = headers.iter();
        let mut left: Vec<_> = left
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        left.sort();
        left
    }

    #[test]
    fn sec_90_what_clears_cookies_is_taken_out_of_clear_site_data() {
        for (lines, left) in [
            (&["\"cookies\""][..], ""),
            (&["\"*\""], ""),
            (
                &["\"cache\", \"cookies\", \"storage\", \"clientHints\""],
                "\"cache\", \"clientHints\"",
            ),
            (&["\"cache\",\"*\""], "\"cache\""),
            (&["\"cache\"", "\"cookies\""], "\"cache\""),
            (&["\"cookies\"", "\"storage\""], ""),
            (&["\"cookies\",\"cookies\"", "\"*\""], ""),
            (&["\"Cookies\""], ""),
            (&["\"COOKIES\", \"cache\""], "\"cache\""),
            (&["cookies"], ""),
            (&["*"], ""),
            (&["'cookies'"], ""),
            (&["\"cookies"], ""),
            (&["\"c\\ookies\""], ""),
            (&["\"cookies\";x=1, \"cache\""], "\"cache\""),
            (&["\"cookies:a\""], ""),
            (&["\"cache\" \"cookies\""], ""),
            (&["\t\"cookies\" ,, "], ""),
            (&["\"something new\""], ""),
            (&["\"storage:a,b\""], ""),
            (&[""], ""),
            // As it came, where nothing has to go.
            (&["\"cache\",\"storage\""], "\"cache\",\"storage\""),
            (&["\"executionContexts\""], "\"executionContexts\""),
            (&["\"storage:drafts\""], "\"storage:drafts\""),
        ] {
            let fields: Vec<_> = lines
                .iter()
                .map(|line| ("clear-site-data", *line))
                .collect();
            let expected = format!("clear-site-data: {left}");
            let expected: Vec<_> = (!left.is_empty()).then_some(expected).into_iter().collect();
            assert_eq!(dropped(&[], &fields), expected, "{lines:?}");
        }
    }

    #[test]
    fn sec_90_each_app_says_what_it_may_say() {
        let fields = [
            ("alt-svc", "h3=\":443\""),
            ("nel", "{}"),
            ("report-to", "{}"),
            ("reporting-endpoints", "a=\"https://a/\""),
            ("service-worker-allowed", "/"),
            ("service-worker-allowed", "/x"),
            ("clear-site-data", "\"cookies\""),
            ("x-kept", "1"),
        ];
        let (worker, clear) = (
            FarReaching::ServiceWorkerAllowed,
            FarReaching::ClearSiteData,
        );
        let workers = ["service-worker-allowed: /", "service-worker-allowed: /x"];
        let cleared = "clear-site-data: \"cookies\"";
        for (allowed, left) in [
            (&[][..], vec!["x-kept: 1"]),
            (&[worker], vec![workers[0], workers[1], "x-kept: 1"]),
            (&[clear], vec![cleared, "x-kept: 1"]),
            (
                &[worker, clear],
                vec![cleared, workers[0], workers[1], "x-kept: 1"],
            ),
        ] {
            assert_eq!(dropped(allowed, &fields), left, "{allowed:?}");
        }
    }
}
