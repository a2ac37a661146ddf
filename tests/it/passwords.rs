//! Passwords and who guesses them, SEC-56 to SEC-60.

use std::time::Duration;

use tokio::time::Instant;

use crate::harness::*;
use crate::soak::status;

async fn gate(app: &Upstream) -> Gate {
    Vestibule::before(app)
        .user("ada", PASSWORD)
        .account(User::new("gone", PASSWORD).disabled())
        .start()
        .await
}

#[tokio::test]
async fn sec_56_a_refusal_does_not_say_what_was_wrong() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    // What can be no name is not shown again; of the others, the name makes all the difference.
    for names in [
        &[
            ("ada", "wrong"),
            ("nobody", "wrong"),
            ("gone", PASSWORD),
            ("gone", "wrong"),
        ][..],
        &[("", "wrong"), ("a b\u{0}", "wrong")],
    ] {
        let mut refusals = Vec::new();
        for &(user, password) in names {
            let reply = gate.browser().try_login(user, password).await;
            let (token, html) = (reply.hidden("csrf"), reply.text());
            let length = html.len().to_string();
            let shown = format!(" value=\"{user}\"");
            let is_name = !user.is_empty() && user.chars().all(char::is_alphabetic);
            let html = html.replace(&token, "it is another one each time");
            assert_eq!(html.matches(&shown).count(), usize::from(is_name), "{html}");
            let headers: Vec<_> = reply
                .headers
                .iter()
                .filter(|(name, _)| name != "date")
                .map(|(name, value)| match name.as_str() {
                    "content-length" => (name.clone(), (*value == length).to_string()),
                    _ => (name.clone(), value.clone()),
                })
                .collect();
            let html = html.replace(&shown, "");
            refusals.push((reply.status, headers, html));
        }
        for refusal in &refusals {
            assert_eq!(refusal, &refusals[0]);
        }
        assert_eq!(refusals[0].0, 401);
    }
}

#[tokio::test]
async fn sec_56_a_refusal_takes_as_long_for_whoever_it_is() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .account(User::new("gone", PASSWORD).disabled())
        .config("[login.throttle]\naccount_failures = 1000\naddress_failures = 10000")
        .start()
        .await;
    // The fastest of each, because the other tests make noise and no noise makes anything faster;
    // more rounds tell noise from a difference.
    let names = ["ada", "nobody", "gone"];
    let mut fastest = names.map(|_| Duration::MAX);
    let spread = |times: &[Duration]| {
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        most.as_secs_f64() / least.as_secs_f64()
    };
    for round in 0..60 {
        for (name, fastest) in names.iter().zip(&mut fastest) {
            let started = Instant::now();
            let reply = gate.browser().try_login(name, "wrong").await;
            *fastest = (*fastest).min(started.elapsed());
            reply.assert_status(401);
        }
        if round >= 10 && spread(&fastest) < 1.3 {
            return;
        }
    }
    panic!("{names:?} took {fastest:?}");
}

/// The time that a login waits says nothing of those before it: beside an old hash each of them
/// takes its thread for the same time, whatever its own hash is.
#[tokio::test]
async fn sec_56_a_login_waits_for_others_as_long_whoever_they_are() {
    const BCRYPT: &str = "$2b$10$abcdefghijklmnopqrstuuYkeV1umVqnEYHvqFIyHG93gmwd0.XnK";
    let app = Upstream::echo().await;
    let old = User {
        hash: BCRYPT.to_owned(),
        ..User::new("old", PASSWORD)
    };
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .account(old)
        .config("[login.throttle]\naccount_failures = 1000\naddress_failures = 10000")
        .start()
        .await;
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2);
    let mut alone = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        gate.browser().try_login("ghost", "wrong").await;
        alone = alone.min(started.elapsed());
    }
    for name in ["old", "nobody"] {
        let started = Instant::now();
        let tries: Vec<_> = (0..=threads.max(1))
            .map(|_| {
                let browser = gate.browser();
                tokio::spawn(async move { browser.try_login(name, "wrong").await })
            })
            .collect();
        for one in tries {
            one.await.unwrap().assert_status(401);
        }
        let took = started.elapsed();
        assert!(took > alone * 3 / 2, "{name}: {took:?}, alone {alone:?}");
    }
}

#[tokio::test]
async fn sec_57_a_password_counts_to_its_last_byte() {
    let long = "x".repeat(100);
    let longest = "y".repeat(1024);
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("long", &long)
        .user("longest", &longest)
        .user("nul", "before\0after")
        .user("umlaut", "p\u{e4}ssw\u{f6}rd \u{1f511}")
        .user("blank", " padded password ")
        .start()
        .await;
    for (user, password, status) in [
        ("long", long.as_str(), 303),
        ("long", &long[..72], 401),
        ("long", &long[..99], 401),
        ("longest", &longest, 303),
        ("longest", &"y".repeat(1025), 401),
        ("nul", "before\0after", 303),
        ("nul", "before", 401),
        ("nul", "before\0other", 401),
        ("umlaut", "p\u{e4}ssw\u{f6}rd \u{1f511}", 303),
        ("umlaut", "P\u{e4}ssw\u{f6}rd \u{1f511}", 401),
        ("blank", " padded password ", 303),
        ("blank", "padded password", 401),
        ("blank", "", 401),
    ] {
        let reply = gate.browser().try_login(user, password).await;
        assert_eq!(reply.status, status, "{user} {password:?}: {reply}");
    }
}

#[tokio::test]
async fn sec_58_a_user_has_one_name() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("Ada", PASSWORD).start().await;
    for name in ["Ada", "ada", "ADA"] {
        let ada = gate.browser().login(name, PASSWORD).await;
        ada.get("/").await.assert_status(200);
        assert_eq!(
            app.last().value("x-forwarded-user"),
            Some("Ada"),
            "the stored name"
        );
    }
    for name in [
        " ada",
        "ada ",
        "ada\0",
        "ada\r\n",
        "\u{ff41}da",
        "\u{430}da",
        "ad\u{e1}",
        "ada\u{200b}",
        "a\u{301}da",
    ] {
        gate.browser()
            .try_login(name, PASSWORD)
            .await
            .assert_status(401);
    }
}

#[tokio::test]
async fn sec_59_who_guesses_has_to_wait() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .config("[login.throttle]\naccount_failures = 3\nwindow = \"15m\"")
        .start()
        .await;
    let from = |address: &str| gate.browser().header("x-forwarded-for", address);
    let signed_in = from("192.0.2.1").login("ada", PASSWORD).await;
    for _ in 0..2 {
        from("192.0.2.1")
            .try_login("ada", "wrong")
            .await
            .assert_status(401);
    }
    let reply = from("192.0.2.1").try_login("ada", "wrong").await;
    reply.assert_status(429);
    let reply = from("192.0.2.1").try_login("ada", PASSWORD).await;
    reply.assert_status(429);
    let wait: u64 = reply
        .value("retry-after")
        .expect("Retry-After")
        .parse()
        .unwrap();
    assert!((1..=15 * 60).contains(&wait), "{wait}");
    signed_in.get("/").await.assert_status(200);
    from("192.0.2.1").login("bob", PASSWORD).await;
    from("198.51.100.9").login("ada", PASSWORD).await;
    gate.advance(Duration::from_secs(15 * 60 + 1));
    from("192.0.2.1").login("ada", PASSWORD).await;
}

/// A restart forgets the failures and keeps where users have signed in: their own network is not
/// made to wait for an attack from everywhere, and a new one does not wait for the window.
#[tokio::test]
async fn sec_59_nobody_is_locked_out_by_an_attack_from_everywhere() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .config("[login.throttle]\naccount_failures = 2\nwindow = \"15m\"")
        .start()
        .await;
    let from = |gate: &Gate, address: &str| gate.browser().header("x-forwarded-for", address);
    from(&gate, "2001:db8::7").login("ada", PASSWORD).await;
    let gate = gate.restart().await;
    let mut statuses = Vec::new();
    for n in 0..30 {
        let browser = from(&gate, &format!("198.51.{n}.1"));
        statuses.push(browser.try_login("ada", "wrong").await.status);
    }
    assert_eq!(statuses[..20], [401; 20]);
    assert!(statuses[20..].contains(&429), "{statuses:?}");
    from(&gate, "2001:db8::8").login("ada", PASSWORD).await;
    let reply = from(&gate, "203.0.113.9").try_login("ada", PASSWORD).await;
    reply.assert_status(429);
    let wait: u64 = reply.value("retry-after").unwrap().parse().unwrap();
    assert!(wait <= 10, "{wait}");
    gate.advance(Duration::from_secs(wait));
    from(&gate, "203.0.113.9").login("ada", PASSWORD).await;
}

/// One home has a /56 of IPv6 (RFC 6177).
#[tokio::test]
async fn sec_59_a_home_cannot_try_many_accounts_by_many_addresses() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .config("[login.throttle]\naddress_failures = 5")
        .start()
        .await;
    let mut refused = 0;
    for n in 0..20 {
        let address = format!("2001:db8:0:1{n:02x}::1");
        let browser = gate.browser().header("x-forwarded-for", &address);
        let reply = browser.try_login(&format!("user{n}"), "wrong").await;
        refused += u32::from(reply.status == 401);
    }
    assert_eq!(refused, 5, "and the sixth is told to wait");
    let neighbour = gate
        .browser()
        .header("x-forwarded-for", "2001:db8:0:200::1");
    neighbour.login("ada", PASSWORD).await;
}

#[tokio::test]
async fn sec_59_by_default_the_tenth_wrong_password_is_the_last() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let mut statuses = Vec::new();
    for n in 0..11 {
        let claimed = format!("192.0.2.{n}");
        let browser = gate
            .browser()
            .header("x-forwarded-for", &claimed)
            .header("x-real-ip", &claimed);
        statuses.push(browser.try_login("ada", "wrong").await.status);
    }
    assert_eq!(statuses[..9], [401; 9]);
    assert_eq!(
        statuses[10], 429,
        "X-Forwarded-For of a stranger resets the throttle: {statuses:?}"
    );
}

#[tokio::test]
async fn sec_59_every_spelling_of_a_name_counts_for_one_account() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .config("[login.throttle]\naccount_failures = 3")
        .start()
        .await;
    for name in ["ada", "Ada", "aDA"] {
        gate.browser().try_login(name, "wrong").await;
    }
    gate.browser()
        .over_http2()
        .try_login("ADA", PASSWORD)
        .await
        .assert_status(429);
}

#[tokio::test]
async fn sec_59_one_address_cannot_try_many_accounts() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .config("[login.throttle]\naddress_failures = 5")
        .start()
        .await;
    for n in 0..5 {
        gate.browser().try_login(&format!("user{n}"), "wrong").await;
    }
    gate.browser()
        .try_login("ada", PASSWORD)
        .await
        .assert_status(429);
}

#[tokio::test]
async fn sec_59_many_tries_at_once_are_as_many() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .config("[login.throttle]\naccount_failures = 5")
        .start()
        .await;
    let tries = (0..30).map(|_| {
        let browser = gate.browser();
        tokio::spawn(async move { browser.try_login("ada", "wrong").await.status })
    });
    let mut refused = 0;
    for one in tries.collect::<Vec<_>>() {
        let status = one.await.unwrap();
        assert!([401, 429, 503].contains(&status), "{status}");
        refused += u32::from(status == 401);
    }
    assert!(refused <= 5, "{refused} passwords were looked at");
}

#[tokio::test]
async fn sec_60_who_is_signed_in_does_not_wait_for_a_login_flood() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("max_connections_per_address = 1000")
        .config("[login.throttle]\naccount_failures = 100000\naddress_failures = 100000")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let flood: Vec<_> = (0..150)
        .map(|n| {
            let browser = gate.browser();
            tokio::spawn(
                async move { browser.try_login(&format!("user{n}"), "wrong").await.status },
            )
        })
        .collect();
    let mut times = Vec::new();
    for _ in 0..9 {
        let started = Instant::now();
        ada.get("/").await.assert_status(200);
        times.push(started.elapsed());
    }
    times.sort_unstable();
    assert!(times[4] < Duration::from_secs(1), "{times:?}");
    let mut statuses = Vec::new();
    for one in flood {
        statuses.push(one.await.unwrap());
    }
    assert!(
        statuses.iter().all(|status| [401, 503].contains(status)),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn the_memory_of_a_login_is_given_back() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app).user("ada", PASSWORD).spawn().await;
    let resident = || status(service.program.id(), "VmRSS:");
    let before = resident();
    // The most, because a busy machine may look late.
    let most = status(service.program.id(), "VmHWM:");
    service.browser().login("ada", PASSWORD).await;
    let needed = status(service.program.id(), "VmHWM:") - most;
    assert!(needed > 16 * 1024, "{needed} KiB");
    eventually("the memory is given back", || {
        resident() < before + 4 * 1024
    })
    .await;
}
