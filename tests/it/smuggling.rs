//! HTTP/1.1 framing, SEC-01 to SEC-16: what two parsers could read in two ways is refused, and
//! what reaches the upstream was written by Vestibule.

use crate::harness::*;

mod answers;
mod connections;
mod framing;
mod heads;

/// What an attacker wants the upstream to take for a request of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: gate.test\r\n\r\n";

/// Everything is open, so that only the parser stands between attacker and upstream.
async fn open_gate(app: &Upstream) -> Gate {
    Vestibule::before(app).public().start().await
}

/// A whole request refused: one answer, 4xx or 5xx, then the connection is closed; nothing reaches the
/// upstream; the next visitor is served.
async fn assert_refused(gate: &Gate, app: &Upstream, attack: &[u8]) -> u16 {
    let shown = String::from_utf8_lossy(attack);
    let before = app.requests();
    let answer = gate.exchange(attack).await;
    let statuses = statuses(&answer);
    assert!(
        matches!(statuses[..], [400..=599]),
        "{statuses:?} for {shown:?}:\n{answer}"
    );
    assert_eq!(app.requests(), before, "{shown:?} reached the upstream");
    gate.browser().get("/next").await.assert_status(200);
    statuses[0]
}

/// The status of each answer in what a connection gave.
fn statuses(answers: &str) -> Vec<u16> {
    let after = answers.split("HTTP/1.1 ").skip(1);
    after
        .filter_map(|rest| rest.get(..3)?.parse().ok())
        .collect()
}
