//! Stopping, and living through hard times: REL-02, REL-05, REL-07.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n";

/// Answers `/slow` when it gets a permit, everything else at once, and WebSockets.
async fn app(open: &Arc<Semaphore>) -> Upstream {
    let open = Arc::clone(open);
    Upstream::scripted(move |exchange| {
        let open = Arc::clone(&open);
        Box::pin(async move {
            if exchange.header("upgrade").is_some() {
                return exchange.echo_websocket().await;
            }
            if exchange.target() == "/slow" {
                drop(open.acquire().await);
            }
            echo(exchange).await;
        })
    })
    .await
}

#[tokio::test]
async fn rel_02_a_stop_lets_requests_finish_and_takes_no_new_ones() {
    let open = Arc::new(Semaphore::new(0));
    let app = app(&open).await;
    let mut service = Vestibule::before(&app).public().spawn().await;
    let mut idle = service.raw().await;
    idle.send(GET).await;
    idle.response().await.assert_status(200);
    let mut http1 = service.raw().await;
    http1
        .send("GET /slow HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    let mut http2 = RawHttp2::connect(service.address).await;
    http2.headers(1, &RawHttp2::get("/slow"), true).await;
    let own = [("origin", "https://gate.test")];
    let mut socket = open_websocket(service.tcp().await, "/socket", &own)
        .await
        .unwrap();
    assert_eq!(socket.ask("hello").await, "hello");
    app.wait_for(4).await;

    service.program.signal(Signal::TERM);
    assert_eq!(idle.rest().await, "", "an idle connection is closed");
    assert_eq!(socket.closed().await, Some(1001), "going away");
    eventually_some("new connections to be refused", async || {
        TcpStream::connect(service.address).await.err()
    })
    .await;
    open.add_permits(10);
    let reply = http1.response().await;
    reply
        .assert_status(200)
        .assert_header("connection", "close");
    let stream = http2.outcome(1).await;
    assert_eq!((stream.status, stream.ended), (Some(200), true));
    assert_eq!(http2.go_away().await, Some(0), "a GOAWAY without an error");
    assert_eq!(service.program.exit().await.code(), Some(0));
}

#[tokio::test]
async fn rel_02_who_connected_before_the_stop_is_answered_once() {
    let app = Upstream::echo().await;
    let mut service = Vestibule::before(&app).public().spawn().await;
    let (mut late, mut silent) = (service.raw().await, service.raw().await);
    let mut http2 = RawHttp2::connect(service.address).await;
    let started = Instant::now();
    service.program.signal(Signal::TERM);
    eventually_some("new connections to be refused", async || {
        TcpStream::connect(service.address).await.err()
    })
    .await;
    http2.headers(1, &RawHttp2::get("/"), true).await;
    late.send(GET).await;
    let reply = late.response().await;
    reply
        .assert_status(200)
        .assert_header("connection", "close");
    assert_eq!(late.rest().await, "");
    assert_eq!(http2.outcome(1).await.status, Some(200));
    assert_eq!(silent.rest().await, "", "nobody is waited for without end");
    assert_eq!(service.program.exit().await.code(), Some(0));
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn rel_02_a_drain_has_a_limit() {
    let open = Arc::new(Semaphore::new(0));
    let app = app(&open).await;
    let mut service = Vestibule::before(&app)
        .public()
        .server("drain_timeout = \"1s\"")
        .spawn()
        .await;
    let mut raw = service.raw().await;
    raw.send("GET /slow HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    app.wait_for(1).await;
    let started = Instant::now();
    service.program.signal(Signal::TERM);
    assert_eq!(service.program.exit().await.code(), Some(0));
    let took = started.elapsed();
    assert!(
        took > Duration::from_millis(900) && took < Duration::from_secs(5),
        "{took:?}"
    );
}

#[tokio::test]
async fn rel_02_a_second_signal_ends_at_once() {
    let open = Arc::new(Semaphore::new(0));
    let app = app(&open).await;
    let mut service = Vestibule::before(&app).public().spawn().await;
    let mut raw = service.raw().await;
    raw.send("GET /slow HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    app.wait_for(1).await;
    service.program.signal(Signal::INT);
    eventually_some("the drain to begin", async || {
        TcpStream::connect(service.address).await.err()
    })
    .await;
    assert!(service.program.is_running());
    let started = Instant::now();
    service.program.signal(Signal::TERM);
    service.program.exit().await;
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn rel_02_signals_may_come_in_any_order() {
    let open = Arc::new(Semaphore::new(0));
    let app = app(&open).await;
    let mut service = Vestibule::before(&app).public().spawn().await;
    let mut raw = service.raw().await;
    raw.send("GET /slow HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    app.wait_for(1).await;
    service.reload(|text| format!("{text}\nnonsense"));
    for signal in [Signal::PIPE, Signal::HUP, Signal::STOP, Signal::HUP] {
        service.program.signal(signal);
    }
    for signal in [Signal::HUP, Signal::TERM, Signal::CONT] {
        service.program.signal(signal);
    }
    eventually_some("the drain to begin", async || {
        TcpStream::connect(service.address).await.err()
    })
    .await;
    for signal in [Signal::HUP, Signal::PIPE, Signal::HUP] {
        service.program.signal(signal); // there is nothing to reload any more, and no second stop
    }
    open.add_permits(1);
    raw.response().await.assert_status(200);
    assert_eq!(service.program.exit().await.code(), Some(0));
}

#[tokio::test]
async fn the_library_stops_like_the_program() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut idle = gate.raw().await;
    idle.send(GET).await;
    idle.response().await.assert_status(200);
    let address = gate.address();
    within("the stop", gate.stop()).await;
    assert_eq!(idle.rest().await, "");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn rel_05_out_of_descriptors_it_keeps_serving_and_recovers() {
    let Some(prlimit) = real::find("prlimit") else {
        return;
    };
    let app = Upstream::echo().await;
    let mut command = Command::new(prlimit);
    command.args(["--nofile=80", env!("CARGO_BIN_EXE_vestibule")]);
    let service = Vestibule::before(&app).public().spawn_by(command).await;
    let mut old = service.raw().await;
    old.send(GET).await;
    old.response().await.assert_status(200);
    let mut held = Vec::new();
    for _ in 0..500 {
        held.push(service.tcp().await);
    }
    eventually("a line about it", || {
        service.program.stdout().contains("cannot accept")
    })
    .await;
    old.send(GET).await;
    old.response().await.assert_status(200);

    // No spinning meanwhile: two seconds of waiting cost next to no processor time. The interval is
    // what is measured, not a wait for something: on a slower machine it costs no more.
    let before = processor_time(service.program.id());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = processor_time(service.program.id()) - before;
    assert!(
        spent < 50,
        "{spent} ticks of 10 ms while there was nothing to do"
    );

    drop(held);
    let started = Instant::now();
    service.browser().get("/").await.assert_status(200);
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    let lines = service.program.stdout().matches("cannot accept").count();
    assert_eq!(lines, 1, "a line for each try would fill the disk");
}

/// Of all threads, in ticks (proc(5), `utime` and `stime`).
fn processor_time(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test]
async fn rel_07_connections_leave_nothing_behind() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app)
        .public()
        .server("max_connections_per_address = 1000")
        .spawn()
        .await;
    let descriptors = || {
        std::fs::read_dir(format!("/proc/{}/fd", service.program.id()))
            .unwrap()
            .count()
    };
    service.browser().get("/").await.assert_status(200);
    let before = descriptors();
    for n in 0..60 {
        let mut raw = service.raw().await;
        let begun = [
            "GET / HTTP/1.1\r\nHost: ga",
            GET,
            "POST / HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 9\r\n\r\nhalf",
            "",
        ];
        raw.send(begun[n % begun.len()]).await;
        drop(service.tcp().await);
    }
    eventually("the descriptors of before", || descriptors() <= before + 2).await;
    service.browser().get("/").await.assert_status(200);
}
