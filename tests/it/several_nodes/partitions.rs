//! Three nodes on machines of their own behind HAProxy and nginx, as docs/several-nodes.md has them: what
//! a cut cable does. Namespaces stand for the machines.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::*;
use crate::docs::page::Page;
use crate::harness::network::{Host, Network};
use crate::harness::redis::ask_at;

/// Of nginx, as Debian has it.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// For what takes a failover, or the return of a master: sentinels take their time, and machines are slow.
const LONG: Duration = Duration::from_mins(2);

/// What they run ends with them.
struct Machine {
    host: Host,
    folder: TempDir,
    programs: Vec<Program>,
}

impl Machine {
    fn new(network: &Network, last: u8) -> Self {
        Self {
            host: network.host(last),
            folder: tempfile::tempdir().unwrap(),
            programs: Vec::new(),
        }
    }

    fn at(&self, port: u16) -> SocketAddr {
        (self.host.address, port).into()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    async fn run(&mut self, mut command: Command, port: u16) {
        command.current_dir(self.folder.path());
        let mut program = Program::spawn(command);
        program.wait_for_port(self.at(port)).await;
        self.programs.push(program);
    }
}

/// Redis and a sentinel on each of three machines; the first is the master.
async fn store(network: &Network) -> Vec<Machine> {
    let mut machines: Vec<_> = [31, 32, 33].map(|last| Machine::new(network, last)).into();
    let master = machines[0].host.address;
    for (number, machine) in machines.iter_mut().enumerate() {
        let mut text = "port 6379\nprotected-mode no\nsave \"\"\nrepl-diskless-sync-delay 0\n\
                        repl-ping-replica-period 1\nmin-replicas-to-write 1\nmin-replicas-max-lag 2\n"
            .to_owned();
        if number > 0 {
            writeln!(text, "replicaof {master} 6379").unwrap();
        }
        let file = machine.write("redis.conf", &text);
        let mut command = machine.host.command("redis-server");
        command.arg(file);
        machine.run(command, 6379).await;
    }
    for machine in &mut machines {
        let text = format!(
            "port 26379\nprotected-mode no\nsentinel monitor main {master} 6379 2\n\
             sentinel down-after-milliseconds main 2000\nsentinel failover-timeout main 4000\n"
        );
        let file = machine.write("sentinel.conf", &text);
        let mut command = machine.host.command("redis-server");
        command.arg(file).arg("--sentinel");
        machine.run(command, 26379).await;
    }
    let says = |port: u16, words: &[&str], what: &str| {
        let at = machines[0].at(port);
        ask_at(at, words).is_some_and(|said| said.contains(what))
    };
    let is_whole = || {
        says(6379, &["INFO", "replication"], "connected_slaves:2")
            && says(26379, &["INFO", "sentinel"], "slaves=2,sentinels=3")
    };
    eventually("two replicas and three sentinels", is_whole).await;
    machines
}

/// As the page has its block for each of them.
async fn node(machine: &Host, page: &str) -> Service {
    let (server, admin) = page.split_once("[admin]").unwrap();
    let (_, server) = server.split_once('\n').unwrap();
    let server = server.lines().filter(|line| !line.starts_with("listen"));
    let server: Vec<_> = server.collect();
    let own = admin.replace("10.0.0.1:", &format!("{}:", machine.address));
    let gate = Vestibule::before_url("http://10.0.0.10:3000")
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .server(&server.join("\n"))
        .session("store = \"redis\"")
        .admin(own.trim())
        .config(&format!(
            "[session.redis]\nkey = \"{}\"\nstale_for = \"30s\"\nwait_replicas = 1\n\
             sentinel = {{ name = \"main\", nodes = [\"redis://10.0.0.31:26379\", \"redis://10.0.0.32:26379\", \
             \"redis://10.0.0.33:26379\"] }}",
            "5a".repeat(32)
        ));
    let program = machine.command(env!("CARGO_BIN_EXE_vestibule"));
    let address = (machine.address, 8443).into();
    gate.spawn_at(address, program).await
}

/// Says who asks: an app that any node reaches.
const APP: &str = "\
defaults
    mode http
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend app
    bind 10.0.0.10:3000
    http-request return status 200 content-type text/plain lf-string \"for %[req.hdr(X-Forwarded-User)]\"
";

/// Until the node reaches the store, as the balancer asks it.
async fn is_ready(host: &Host) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    some_within(LONG, "a node to be ready", async || {
        let asked = timeout(PATIENCE, TcpStream::connect((host.address, 9090))).await;
        let mut stream = asked.ok()?.ok()?;
        let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
}

async fn balancer(machine: &mut Machine, haproxy: &str, nginx: &str) {
    for (name, text, port) in [("app.cfg", APP, 3000), ("haproxy.cfg", haproxy, 443)] {
        let file = machine.write(name, text);
        let mut command = machine.host.command("haproxy");
        command.args(["-db", "-f", &file]);
        machine.run(command, port).await;
    }
    let text = format!(
        "load_module {STREAM_MODULE};\nuser root;\ndaemon off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n{}",
        nginx.replace("listen 443", "listen 444")
    );
    let file = machine.write("nginx.conf", &text);
    let mut command = machine.host.command("nginx");
    command.args(["-p", ".", "-c", &file]);
    machine.run(command, 444).await;
}

/// What several requests are answered, each by another connection, so that every node is asked.
async fn statuses(browser: &Browser) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(browser.fetch("/").await.status);
    }
    statuses
}

/// Until every node answers so. `meanwhile` is what else may be answered before.
async fn all_become(browser: &Browser, status: u16, meanwhile: &[u16]) {
    let what = format!("{status} of every node");
    some_within(LONG, &what, async || {
        let statuses = statuses(browser).await;
        let is_expected = |one: &u16| *one == status || meanwhile.contains(one);
        assert!(statuses.iter().all(is_expected), "{statuses:?}");
        statuses.iter().all(|one| *one == status).then_some(())
    })
    .await;
}

#[test]
fn rel_18_a_master_and_a_node_that_are_cut_off_open_nothing_that_has_ended() {
    let parts = ["redis-server", "haproxy", "nginx"];
    if parts.iter().any(|part| real::find(part).is_none()) {
        return;
    }
    if !Path::new(STREAM_MODULE).exists() {
        real::missing(STREAM_MODULE);
        return;
    }
    let Some(network) = Network::new() else {
        return;
    };
    // A thread of its own: it is on another machine from now on.
    let story = std::thread::spawn(move || {
        let visitors = network.host(100);
        visitors.enter();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(Box::pin(cut_off(&network)));
    });
    if let Err(panic) = story.join() {
        std::panic::resume_unwind(panic);
    }
}

async fn cut_off(network: &Network) {
    let block = |language, part| Page::block("several-nodes.md", language, part);
    let haproxy = block("haproxy", "10.0.0.1:");
    let toml = block("toml", "proxy_protocol_from");
    let nginx = block("nginx", "10.0.0.1:");
    let store = store(network).await;
    let mut front = Machine::new(network, 10);
    let hosts = [1, 2, 3].map(|last| network.host(last));
    let mut nodes = Vec::new();
    for host in &hosts {
        nodes.push(node(host, &toml).await);
    }
    balancer(&mut front, &haproxy, &nginx).await;
    let by_haproxy = Browser::new(front.at(443), "gate.test");
    let ready = async || (by_haproxy.get("/").await.status == 303).then_some(());
    some_within(LONG, "HAProxy to find the nodes", ready).await;

    let ada = by_haproxy.fresh().login("ada", PASSWORD).await;
    let bob = by_haproxy.fresh().login("bob", PASSWORD).await;
    // They show their cookie, whether or not their browser has been told to forget it.
    let cookies = [&ada, &bob].map(Browser::session_cookie);
    let still_ada = by_haproxy.fresh().cookie(&cookies[0]);
    let still_bob = by_haproxy.fresh().cookie(&cookies[1]);
    for host in &hosts {
        is_ready(host).await;
    }
    for balancer in [front.at(443), front.at(444)] {
        let ada = ada.led_to(balancer);
        all_become(&ada, 200, &[]).await;
        assert_eq!(ada.fetch("/").await.text(), "for ada");
    }

    // The master is cut off from its replicas, the other sentinels and the nodes. Whoever was signed in
    // stays signed in, and nobody is shown a login.
    store[0].host.cut_off();
    let leaves = async || {
        assert!(matches!(ada.fetch("/").await.status, 200 | 503));
        let reply = by_haproxy.fresh().try_login("bob", PASSWORD).await;
        (reply.status == 303).then_some(())
    };
    some_within(LONG, "a login at the new master", leaves).await;
    for host in &hosts {
        is_ready(host).await;
    }
    bob.logout().await.assert_status(303);
    all_become(&still_bob, 401, &[200, 503]).await;

    // It is back, follows the new master, and what has ended stays ended.
    store[0].host.join_again();
    let follows = async || {
        let said = ask_at(store[0].at(6379), &["INFO", "replication"])?;
        let is_replica = said.contains("role:slave") && said.contains("master_link_status:up");
        is_replica.then_some(())
    };
    some_within(LONG, "the old master to follow", follows).await;
    all_become(&ada, 200, &[503]).await;
    all_become(&still_bob, 401, &[503]).await;

    // A node is cut off, and a session ends elsewhere. The others go on, by either balancer; when the node
    // is back, it has heard of it.
    hosts[0].cut_off();
    let by_nginx = ada.led_to(front.at(444));
    all_become(&by_nginx, 200, &[]).await;
    ada.logout().await.assert_status(303);
    all_become(&still_ada, 401, &[200, 503]).await;
    hosts[0].join_again();
    let node = still_ada.led_to((hosts[0].address, 8443).into());
    let ended = async || (node.fetch("/").await.status == 401).then_some(());
    some_within(LONG, "the node that was cut off to refuse", ended).await;
    drop(nodes);
}
