//! Answers before the end of an upload reach its client, over HTTP/2, too: SEC-99.

use std::process::Command;

use crate::harness::*;

/// Refuses each upload before it has read any of it.
async fn refusing() -> Upstream {
    Upstream::scripted(|exchange| {
        Box::pin(async {
            let fields = [("Connection", "close")];
            exchange
                .reply("413 Content Too Large", &fields, "too large")
                .await;
            exchange.wait_until_closed().await;
        })
    })
    .await
}

async fn gate() -> (Upstream, Gate) {
    let app = refusing().await;
    let gate = Vestibule::before(&app).rule("/public", "everyone");
    (app, gate.start().await)
}

/// The answer of the app, and one of ours.
const EARLY: [(&str, u16); 2] = [("/public", 413), ("/private", 401)];

const NO_ERROR: u32 = 0;

#[tokio::test]
async fn sec_99_the_rest_of_an_upload_is_read_after_its_answer() {
    let (_app, gate) = gate().await;
    for (path, status) in EARLY {
        let mut http2 = gate.raw_http2().await;
        http2
            .headers(1, &RawHttp2::fields("POST", path), false)
            .await;
        http2.data(1, b"begun", false).await;
        assert_eq!(http2.status(1).await, Some(status), "{path}");
        // Much more than the window of a stream, which opens only when somebody reads.
        let mut window = 200_000;
        let mut left = 3_000_000_usize;
        while left > 0 {
            if window < 16_384 {
                window += within("a larger window", http2.larger_window(1)).await;
                continue;
            }
            let sent = left.min(16_384);
            left -= sent;
            window -= sent;
            http2.data(1, &vec![b'x'; sent], left == 0).await;
        }
        let outcome = http2.outcome(1).await;
        assert!(outcome.ended && outcome.reset.is_none(), "{outcome:?}");
        // The connection serves on.
        http2
            .headers(3, &RawHttp2::get("/.vestibule/login"), true)
            .await;
        assert_eq!(http2.outcome(3).await.status, Some(200), "{path}");
    }
}

#[tokio::test]
async fn sec_99_a_client_that_stops_is_told_that_this_is_no_error() {
    let (_app, gate) = gate().await;
    for (path, status) in EARLY {
        let mut http2 = gate.raw_http2().await;
        http2
            .headers(1, &RawHttp2::fields("POST", path), false)
            .await;
        http2.data(1, b"begun", false).await;
        let outcome = http2.outcome(1).await;
        assert!(outcome.ended, "{path}: {outcome:?}");
        assert_eq!(outcome.status, Some(status), "{path}");
        http2.any_reset().await;
        assert_eq!(http2.outcome(1).await.reset, Some(NO_ERROR), "{path}");
    }
}

#[tokio::test]
async fn sec_99_a_stop_waits_for_no_rest() {
    let (_app, gate) = gate().await;
    let mut http2 = gate.raw_http2().await;
    http2
        .headers(1, &RawHttp2::fields("POST", "/private"), false)
        .await;
    http2.data(1, b"begun", false).await;
    assert!(http2.outcome(1).await.ended);
    let begun = tokio::time::Instant::now();
    let (_, ()) = tokio::join!(http2.go_away(), gate.stop());
    let took = begun.elapsed();
    assert!(took < std::time::Duration::from_secs(4), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_99_curl_gets_the_answer_whatever_it_sends() {
    let Some(curl) = real::find("curl") else {
        return;
    };
    let (_app, gate) = gate().await;
    let files = Files::new();
    let at = format!("gate.test:{}", gate.address().port());
    for size in [6, 100_000, 8_000_000] {
        let body = files.write("body", &"x".repeat(size), 0o644);
        for (path, status) in EARLY {
            for version in ["--http1.1", "--http2"] {
                let mut command = Command::new(&curl);
                command
                    .args(["-sSk", version, "--max-time", "30", "-H", "Expect:"])
                    .args(["--resolve", &format!("{at}:127.0.0.1"), "--data-binary"])
                    .arg(format!("@{}", body.display()))
                    .args(["-o", "/dev/null", "-w", "%{http_code}"])
                    .arg(format!("https://{at}{path}"));
                let (code, said, complaint) = run_to_end(&mut command, "");
                let got = (code, said.as_str());
                let wanted = status.to_string();
                assert_eq!(
                    got,
                    (Some(0), &*wanted),
                    "{size} bytes to {path} with {version}: {complaint}"
                );
            }
        }
    }
}
