//! `vestibule node list`: which nodes there are.

use rustix::process::Signal;
use serde_json::Value;

use super::*;

fn list(service: &Service) -> Vec<Value> {
    try_list(service).unwrap_or_else(|said| panic!("{said}"))
}

/// What the command says where it fails.
fn try_list(service: &Service) -> Result<Vec<Value>, String> {
    match run(&service.files, &["node", "list", "--json"]) {
        (Some(0), json, said) if said.is_empty() => Ok(serde_json::from_str(&json).unwrap()),
        // 3 is a server whose admin socket is not there yet.
        (Some(1 | 3), listed, said) if listed.is_empty() => Err(said),
        ran => panic!("{ran:?}"),
    }
}

/// Until the node lists so many.
async fn lists(service: &Service, count: usize) -> Vec<Value> {
    let listed = async || try_list(service).ok().filter(|nodes| nodes.len() == count);
    eventually_some(&format!("{count} nodes"), listed).await
}

/// Of that node in a list.
fn of<'a>(nodes: &'a [Value], service: &Service) -> &'a Value {
    let address = service.address.to_string();
    let mut nodes = nodes.iter();
    let found = nodes.find(|node| node["addresses"][0] == *address);
    found.unwrap_or_else(|| panic!("{address} is not listed"))
}

/// Where the store has what a node says of itself.
fn key(node: &Value) -> String {
    format!("vestibule:{{nodes}}:node:{}", node["id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_node_lists_all_until_one_stops_or_is_silent() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let first = node(&app, &redis).spawn().await;
    let mut second = node(&app, &redis).spawn().await;
    for (this, other) in [(&first, &second), (&second, &first)] {
        let nodes = lists(this, 2).await;
        for node in &nodes {
            assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
            assert!(node["started"].as_str().unwrap().ends_with('Z'), "{node}");
        }
        let (own, other) = (of(&nodes, this), of(&nodes, other));
        assert_eq!(
            (&own["this"], &other["this"]),
            (&true.into(), &false.into())
        );
        assert_ne!(own["name"], other["name"]);
        assert_eq!(
            (&own["state"], &other["state"]),
            (&"running".into(), &"running".into())
        );
        assert!(
            own["last_seen"].as_str() >= own["started"].as_str(),
            "{own}"
        );
        let (_, table, said) = run(&this.files, &["node", "list"]);
        assert_eq!((table.lines().count(), &*said), (3, ""), "{table}");
        let name = own["name"].as_str().unwrap();
        let line = table.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.ends_with("running, this node"), "{table}");
        let status = async || {
            let (_, status, _) = run(&this.files, &["status"]);
            status.contains("\nnodes        2\n").then_some(())
        };
        eventually_some("two nodes in the status", status).await;
    }

    second.program.signal(Signal::TERM);
    second.program.exit().await;
    let nodes = lists(&first, 1).await;
    assert_eq!(of(&nodes, &first)["this"], true);

    let mut second = second.start_again().await;
    let nodes = lists(&first, 2).await;
    second.program.signal(Signal::KILL);
    second.program.exit().await;
    // As if an hour without 16 seconds, and then the hour, were over.
    let key = key(of(&nodes, &second));
    redis.ask(&["PEXPIRE", &key, "3584000"]);
    assert_eq!(of(&list(&first), &second)["state"], "silent");
    let (_, table, _) = run(&first.files, &["node", "list"]);
    assert!(
        table.lines().any(|line| line.ends_with("silent")),
        "{table}"
    );
    redis.ask(&["PEXPIRE", &key, "1"]);
    lists(&first, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_19_a_node_that_cannot_be_read_is_shown_as_such() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let first = node(&app, &redis).spawn().await;
    let second = node(&app, &redis).spawn().await;
    let nodes = lists(&first, 2).await;
    let all = "vestibule:{nodes}:all";
    // The first byte is the version of the seal.
    for (id, value) in [
        ("00000000000000aa", "\u{2}"),
        ("00000000000000bb", "\u{1}?"),
    ] {
        redis.ask(&["SET", &format!("vestibule:{{nodes}}:node:{id}"), value]);
        redis.ask(&["SADD", all, id]);
    }
    redis.ask(&[
        "COPY",
        &key(of(&nodes, &second)),
        "vestibule:{nodes}:node:00000000000000cc",
    ]);
    redis.ask(&["SADD", all, "00000000000000cc"]);
    let nodes = lists(&first, 5).await;
    let states: Vec<_> = nodes.iter().map(|node| &node["state"]).collect();
    assert_eq!(
        states,
        ["running", "running", "newer", "damaged", "damaged"]
    );
    let (code, table, _) = run(&first.files, &["node", "list"]);
    assert_eq!(code, Some(0));
    assert!(table.contains("of a later version"), "{table}");
    assert!(
        table.contains("damaged, or sealed with another key"),
        "{table}"
    );
    assert_eq!(
        redis.ask(&["GET", "vestibule:{nodes}:node:00000000000000aa"]),
        "\u{2}\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_10_without_the_store_no_list_is_shown_as_whole() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let node = node(&app, &redis).spawn().await;
    lists(&node, 1).await;
    redis.stop();
    // Not 3: the server runs.
    let refused = async || try_list(&node).err().filter(|said| said.contains("listed"));
    let said = eventually_some("a list that fails", refused).await;
    assert!(
        said.contains("the session store cannot be reached"),
        "{said}"
    );
    redis.go_on();
    lists(&node, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_another_store_a_node_says_that_it_is_alone() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app).user("ada", PASSWORD).spawn().await;
    let nodes = lists(&service, 1).await;
    let own = of(&nodes, &service);
    assert_eq!(
        (&own["this"], &own["state"]),
        (&true.into(), &"running".into())
    );
    let (code, table, said) = run(&service.files, &["node", "list"]);
    assert_eq!(code, Some(0));
    assert!(table.contains("running, this node"), "{table}");
    assert!(
        said.contains("this node is alone") && said.contains("[session]"),
        "{said}"
    );
    let (_, status, _) = run(&service.files, &["status"]);
    assert!(!status.contains("\nnodes "), "{status}");
}

/// Nodes and numbers of the streams of ada, as this node lists them, and what else it says.
fn streams(node: &mut Gate) -> (Vec<(String, u64)>, String) {
    let (code, json, said) = run(
        node.files(),
        &["session", "list", "--user", "ada", "--json"],
    );
    assert_eq!(code, Some(0), "{said}");
    let sessions: Vec<Value> = serde_json::from_str(&json).unwrap();
    let streams = sessions[0]["streams"].as_array().unwrap().iter();
    let of = |it: &Value| {
        (
            it["node"].as_str().unwrap().to_owned(),
            it["open"].as_u64().unwrap(),
        )
    };
    (streams.map(of).collect(), said)
}

fn name(node: &mut Gate) -> String {
    let address = node.address().to_string();
    let (_, json, said) = run(node.files(), &["node", "list", "--json"]);
    assert_eq!(said, "");
    let nodes: Vec<Value> = serde_json::from_str(&json).unwrap();
    let own = nodes.iter().find(|it| it["addresses"][0] == *address);
    own.unwrap()["name"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_sessions_says_on_which_nodes_they_have_streams() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let mut first = node(&app, &redis).start().await;
    let mut second = node(&app, &redis).start().await;
    let ada = first.browser().login("ada", PASSWORD).await;
    assert_eq!(streams(&mut first), (vec![], String::new()));
    let here = [websocket(&first, &ada).await, websocket(&first, &ada).await];
    let there = websocket(&second, &led_to(&second, &ada)).await;
    let names = [name(&mut first), name(&mut second)];
    let counted = [(names[0].clone(), 2), (names[1].clone(), 1)];
    for node in [&mut first, &mut second] {
        let mut listed = (vec![], String::new());
        eventually("the streams of both nodes", || {
            listed = streams(node);
            listed.0.len() == 2
        })
        .await;
        listed.0.sort_by_key(|(name, _)| *name == names[1]);
        assert_eq!(listed, (counted.to_vec(), String::new()));
        let (_, table, _) = run(node.files(), &["session", "list"]);
        assert!(
            table.contains("  STREAMS  ") && table.contains(&names[1]),
            "{table}"
        );
    }
    drop(there);
    eventually("no stream on the second node", || {
        streams(&mut first).0.len() == 1
    })
    .await;
    drop(here);
    eventually("no stream", || streams(&mut second).0.is_empty()).await;

    // Of another session, and of a node whose streams cannot be read.
    let id = {
        let (_, json, _) = run(second.files(), &["node", "list", "--json"]);
        let nodes: Vec<Value> = serde_json::from_str(&json).unwrap();
        let own = nodes.into_iter().find(|it| it["name"] == *names[1]);
        own.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let key = format!("vestibule:{{nodes}}:stream:{id}");
    redis.ask(&["SET", &key, "\u{2}", "PX", "3600000"]);
    let (listed, said) = streams(&mut first);
    assert!(listed.is_empty() && said.contains(&names[1]), "{said}");
}

/// A series without labels, as the node tells it.
async fn metric<T: std::str::FromStr>(node: &Gate, name: &str) -> T {
    let scrape = told(node, "/metrics").await;
    let mut lines = scrape.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines.find(|(series, _)| *series == name).unwrap();
    let value = value.trim().parse();
    value.unwrap_or_else(|_| panic!("{name} is another kind of number"))
}

/// The same of what is counted.
async fn count_of(node: &Gate, name: &str) -> u64 {
    metric(node, name).await
}

#[tokio::test]
async fn metrics_say_how_many_nodes_there_are_and_how_long_an_end_takes() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let first = node(&app, &redis).start().await;
    let second = node(&app, &redis).start().await;
    for node in [&first, &second] {
        away::is_ready(node).await;
        let two = async || (count_of(node, "vestibule_nodes").await == 2).then_some(());
        eventually_some("two nodes", two).await;
    }
    let (count, sum) = (
        "vestibule_session_end_delay_seconds_count",
        "vestibule_session_end_delay_seconds_sum",
    );
    let ada = first.browser().login("ada", PASSWORD).await;
    let socket = websocket(&second, &led_to(&second, &ada)).await;
    for node in [&first, &second] {
        assert_eq!(count_of(node, count).await, 0, "nothing has ended");
    }
    ada.logout().await.assert_status(303);
    let closed = timeout(SOON, socket.closed()).await;
    assert_eq!(closed.expect("the stream is cut"), Some(1008));
    let noted = async || (count_of(&second, count).await == 1).then_some(());
    eventually_some("an end that is noted", noted).await;
    let delay: f64 = metric(&second, sum).await;
    assert!((0.0..SOON.as_secs_f64()).contains(&delay), "{delay}");
    assert_eq!(
        count_of(&first, count).await,
        0,
        "its own ends take no time"
    );
    second.stop().await;
    let one = async || (count_of(&first, "vestibule_nodes").await == 1).then_some(());
    eventually_some("one node", one).await;
}
