use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::Config;

/// Two places, and eight apps that take connections and never answer, before one that does and
/// one where nothing listens.
#[tokio::test]
async fn apps_that_hang_leave_time_for_those_behind() {
    let listen = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
    let mut hanging = Vec::new();
    for _ in 0..8 {
        hanging.push(listen().await);
    }
    let (healthy, closed) = (listen().await, listen().await);
    let listeners = hanging.iter().chain([&healthy, &closed]);
    let addresses: Vec<_> = listeners.map(|one| one.local_addr().unwrap()).collect();
    drop(closed);
    let asked = tokio::spawn(async move {
        loop {
            let (mut stream, _) = healthy.accept().await.unwrap();
            let mut head = [0; 1024];
            if stream.read(&mut head).await.unwrap() > 0 {
                let answer = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        }
    });
    let apps = addresses.iter().enumerate().map(|(number, address)| {
        format!(
            "[[app]]\nname = \"a{number}\"\nhost = \"a{number}.test\"\n\
             upstream = \"http://{address}\"\n"
        )
    });
    let text = format!(
        "[tls]\ncert = \"c\"\nkey = \"k\"\n{}",
        apps.collect::<String>()
    );
    let config = Config::parse(&text, "config.toml".as_ref()).unwrap();
    let port = BrowsersPort {
        number: 443,
        is_configured: true,
    };
    let asks = Some(Asks {
        has_trusted_proxies: false,
    });
    let apps: Arc<[AppSettings]> = config.apps.into();
    let dialers = open(&apps, port);
    let deadline = Instant::now() + Duration::from_secs(2);
    let found = dial_at_once(2, (apps, port), dialers, asks, deadline).await;
    assert!(Instant::now() < deadline + Duration::from_millis(500));
    asked.abort();
    let said: Vec<_> = found.iter().map(|one| &*one.message).collect();
    assert_eq!(said.len(), 10, "{said:#?}");
    for (said, address) in said.iter().zip(&addresses) {
        let waited = format!("http://{address} takes connections, and has not answered within ");
        // As in "200.1ms".
        match said.strip_prefix(&waited) {
            Some(time) => assert!(!time.starts_with('0'), "{said}"),
            None => assert!(!said.contains("within"), "{said}"),
        }
    }
    let (five_hundred, refused) = (
        format!("http://{} answers 500 to its first page", addresses[8]),
        format!("nothing listens at http://{}", addresses[9]),
    );
    assert_eq!(said[8..], [five_hundred, refused]);
}

#[tokio::test]
async fn without_time_nobody_is_said_to_have_been_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let text = format!(
        "[tls]\ncert = \"c\"\nkey = \"k\"\n[[app]]\nname = \"a\"\nupstream = \"http://{address}\"\n"
    );
    let config = Config::parse(&text, "config.toml".as_ref()).unwrap();
    let port = BrowsersPort {
        number: 443,
        is_configured: true,
    };
    let apps: Arc<[AppSettings]> = config.apps.into();
    let dialers = open(&apps, port);
    let found = dial((apps, port), dialers, None, Instant::now()).await;
    let said: Vec<_> = found.iter().map(|one| &*one.message).collect();
    assert_eq!(
        said,
        [format!(
            "http://{address} was not tried: the others took all of the time"
        )]
    );
}

#[test]
fn keys_that_do_nothing_are_warned_of() {
    let tolerates = "tolerate = [\"invalid-header-lines\", \"missing-close-notify\"]";
    let (one, two) = ("[\"http://a:1\"]", "[\"http://a:1\", \"https://a:2\"]");
    for (upstream, keys, expected) in [
        (
            "\"http://a:1\"",
            tolerates,
            Some("no upstream of it is https"),
        ),
        (
            "\"unix:/run/a\"",
            tolerates,
            Some("no upstream of it is https"),
        ),
        ("\"https://a:1\"", tolerates, None),
        (two, tolerates, None),
        (one, "tolerate = [\"invalid-header-lines\"]", None),
        (one, "balance = \"least\"", Some("it has one address")),
        (one, "balance = \"sticky\"", Some("it has one address")),
        (one, "balance = \"round-robin\"", None),
        (two, "balance = \"sticky\"", None),
        (one, "health = {}", Some("its `health` has no `path`")),
        (one, "health = { path = \"\", interval = \"10s\" }", None),
        (one, "health = { path = \"/\" }", None),
        (one, "", None),
    ] {
        let text = format!(
            "[tls]\ncert = \"c\"\nkey = \"k\"\n[[app]]\nname = \"wiki\"\n\
             upstream = {upstream}\n{keys}\n"
        );
        let config = Config::parse(&text, "config.toml".as_ref()).unwrap();
        let found = examine(&config.apps);
        assert_eq!(found.len(), expected.iter().len(), "{keys}: {found:?}");
        for (finding, start) in found.iter().zip(expected) {
            assert!(finding.message.starts_with(start), "{finding:?}");
            assert_eq!((&*finding.subject, finding.line), ("app wiki", Some(4)));
        }
    }
}
