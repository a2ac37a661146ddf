//! All that is started, and ends when this is dropped.

use std::fmt;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tokio::net::TcpSocket;
use vestibule::benchmark::Store;

use super::node::{Node, held_port};
use super::redis::Redis;
use super::{say, until};
use crate::app::App;
use crate::certificate::Certificate;
use crate::client::Client;
use crate::peers::{self, PASSWORD};
use crate::process::Running;

pub(super) const NAMES: [&str; 3] = ["A", "B", "C"];
pub(super) const USERS: [&str; 5] = ["ada", "bob", "carol", "dave", "erin"];

/// Of the sentinels; as the nodes count, so does a quorum of them.
const SENTINELS: usize = 3;
const QUORUM: usize = 2;

/// As the documentation asks for: each server writes down what it keeps, and takes no write that no
/// replica gets.
const SERVER: [&str; 8] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--maxmemory-policy",
    "noeviction",
    "--min-replicas-to-write",
    "1",
];

const NODE: &str = r#"
[server]
listen = ["127.0.0.1:<port>"]
proxy_protocol_from = ["127.0.0.1"]
public_port = <public>
drain_timeout = "5s"
max_connections_per_address = 10000
[tls]
cert = "../cert.pem"
key = "../key.pem"
[session]
store = "redis"
max_per_user = 10000
[session.redis]
sentinel = { name = "main", nodes = [<sentinels>] }
key_file = "../redis.key"
[login]
users_file = "../users.toml"
[admin]
socket = "admin.sock"
metrics = "127.0.0.1:<metrics>"
[log]
access = false
[[app]]
upstream = "http://<app>"
[app.identity]
"X-Remote-User" = "{user}"
"#;

/// Nodes that are ready are asked first. While the store is away none is: then all of them go on with the
/// sessions that they know.
const HAPROXY: &str = "\
global
    maxconn 8000
defaults
    mode tcp
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    retries 3
    option redispatch 1
frontend visitors
    bind 127.0.0.1:<public>
    default_backend nodes
backend nodes
    balance roundrobin
    option httpchk GET /readyz
    option allbackups
    default-server send-proxy-v2
";

/// The programs of others.
pub(super) struct Programs {
    haproxy: PathBuf,
}

impl Programs {
    /// # Errors
    /// Some are missing; the error says how to get them.
    pub(super) fn find() -> io::Result<Self> {
        let found = ["redis-server", "haproxy"].map(|name| (name, peers::find(name)));
        let missing = found.iter().filter(|(_, path)| path.is_none());
        let missing: Vec<_> = missing.map(|(name, _)| *name).collect();
        let [_, (_, Some(haproxy))] = found else {
            return Err(Self::missing(&missing));
        };
        if missing.is_empty() {
            Ok(Self { haproxy })
        } else {
            Err(Self::missing(&missing))
        }
    }

    fn missing(names: &[&str]) -> io::Error {
        let names = names.join(" ");
        io::Error::other(format!(
            "missing: {names}. On Debian, `apt install --no-install-recommends {names}` brings it"
        ))
    }
}

pub(super) struct Fleet {
    haproxy: Running,
    pub(super) public: u16,
    pub(super) nodes: Vec<Node>,
    pub(super) sentinels: Vec<Redis>,
    pub(super) servers: Vec<Redis>,
    certificate: Certificate,
    /// Of the password of every user.
    hash: String,
    _app: App,
    _port: TcpSocket,
    folder: TempDir,
}

impl Fleet {
    pub(super) async fn start(programs: &Programs, vestibule: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("vestibule-nodes-")
            .tempdir()?;
        let ground = folder.path();
        let (certificate, app) = (Certificate::make()?, App::start()?);
        let (public, port) = held_port()?;
        say("Starting Redis with two replicas and three sentinels ...\n");
        let (servers, sentinels) = redis().await?;
        let hash = peers::hash(vestibule)?;
        let users = USERS.map(|user| format!("[user.{user}]\npassword = \"{hash}\"\n"));
        let key = key()?;
        for (name, text) in [
            ("cert.pem", &certificate.cert),
            ("key.pem", &certificate.key),
            ("users.toml", &users.concat()),
            ("redis.key", &key),
        ] {
            write(&ground.join(name), text)?;
        }
        let addresses = sentinels
            .iter()
            .map(|sentinel| format!("{:?}", sentinel.url()));
        let configuration = NODE
            .replace("<sentinels>", &addresses.collect::<Vec<_>>().join(", "))
            .replace("<public>", &public.to_string())
            .replace("<app>", &app.address.to_string());
        say("Starting three nodes and HAProxy ...\n");
        let mut nodes = Vec::new();
        for name in NAMES {
            let mut node = Node::new(name, vestibule, ground, &configuration)?;
            node.start().await?;
            nodes.push(node);
        }
        let mut text = HAPROXY.replace("<public>", &public.to_string());
        for Node {
            name,
            port,
            metrics,
            ..
        } in &nodes
        {
            let checked = format!("check port {metrics} inter 200ms fall 2 rise 1");
            let server = format!("127.0.0.1:{port}");
            text += &[
                format!("    server {name} {server} {checked}\n"),
                format!("    server {name}-not-ready {server} backup\n"),
            ]
            .concat();
        }
        let file = ground.join("haproxy.cfg");
        write(&file, &text)?;
        let mut command = Command::new(&programs.haproxy);
        command.args(["-db", "-f"]).arg(file);
        let haproxy = Running::start(command, ground.join("haproxy.log"))?;
        let mut fleet = Self {
            haproxy,
            public,
            nodes,
            sentinels,
            servers,
            certificate,
            hash,
            _app: app,
            _port: port,
            folder,
        };
        let visitor = fleet.visitor()?;
        let (answered, _) = until("HAProxy", async || {
            if let Some(said) = fleet.haproxy.ended() {
                return Some(Err(io::Error::other(format!("HAProxy ends: {said}"))));
            }
            visitor.fetch("/.vestibule/login").await.ok().map(Ok)
        })
        .await?;
        answered.map(|_| fleet)
    }

    /// Somebody who comes through HAProxy.
    pub(super) fn visitor(&self) -> io::Result<Client> {
        Client::new(&self.certificate, self.public)
    }

    /// The same visitor as HAProxy leads them to a node.
    pub(super) fn at(&self, node: usize, visitor: &Client) -> Client {
        visitor.led_to(self.nodes[node].port, Ipv4Addr::new(192, 0, 2, 7))
    }

    /// Somebody who signs in at this node.
    pub(super) async fn sign_in(&self, node: usize, user: &str) -> io::Result<Client> {
        let mut visitor = self.at(node, &self.visitor()?);
        visitor.sign_in("/.vestibule/login", user, PASSWORD).await?;
        Ok(visitor)
    }

    /// Sessions that begin without a login, each with its visitor; the users take turns.
    pub(super) async fn fill(&self, count: usize) -> io::Result<Vec<Client>> {
        let store = Store::of_configuration(&self.nodes[0].config());
        store.until_reachable().await;
        let users = USERS.map(str::to_owned);
        let cookies = store.fill(count, "localhost", &users, &self.hash).await;
        let visitors = cookies.iter().map(|cookie| {
            let mut visitor = self.visitor()?;
            visitor.sign_in_with(&format!("__Host-Http-vestibule={cookie}"))?;
            Ok(visitor)
        });
        visitors.collect()
    }

    /// Waits until all sentinels name the same master, and all other servers follow it. Gives its
    /// place: a machine that is too busy to answer a sentinel has another master named, too, so which
    /// one that is nobody can tell before.
    pub(super) async fn until_whole(&self) -> io::Result<usize> {
        let what = "the sentinels to agree on a master that all other servers follow";
        let whole = until(what, async || self.whole()).await;
        let told = |error| io::Error::other(format!("{error}; {}", self.roles()));
        whole.map(|(master, _)| master).map_err(told)
    }

    fn whole(&self) -> Option<usize> {
        let mut named = (0..self.sentinels.len()).map(|sentinel| self.master_of(sentinel));
        let master = named.next()??;
        let is_agreed = named.all(|named| named == Some(master));
        let info = self.servers[master].try_ask(&["INFO", "replication"])?;
        let replicas = info.matches("state=online").count();
        (is_agreed && replicas == self.servers.len() - 1).then_some(master)
    }

    /// Who follows whom, and whom each sentinel names.
    fn roles(&self) -> String {
        let role = |server: &Redis| {
            let role = server.try_ask(&["ROLE"]).unwrap_or_default();
            let role: Vec<_> = role.lines().take(4).collect();
            format!("{} is {}", server.port(), role.join(" "))
        };
        let roles: Vec<_> = self.servers.iter().map(role).collect();
        let named = (0..self.sentinels.len()).map(|sentinel| {
            let master = self.master_of(sentinel).map(|it| self.servers[it].port());
            master.map_or_else(|| "none".to_owned(), |port| port.to_string())
        });
        let named: Vec<_> = named.collect();
        format!(
            "{}; the sentinels name {}",
            roles.join(", "),
            named.join(", ")
        )
    }

    /// How many elections of a master the sentinels have held, as far as the first of them knows.
    pub(super) fn elections(&self) -> Option<u64> {
        let known = self.sentinels[0].try_ask(&["SENTINEL", "MASTER", "main"])?;
        let mut words = known.lines();
        words.find(|word| *word == "config-epoch")?;
        words.next()?.parse().ok()
    }

    /// The place of the server that the first sentinel names as the master.
    pub(super) fn master(&self) -> Option<usize> {
        self.master_of(0)
    }

    fn master_of(&self, sentinel: usize) -> Option<usize> {
        let named =
            self.sentinels[sentinel].try_ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"])?;
        let port: u16 = named.lines().nth(1)?.parse().ok()?;
        self.servers.iter().position(|server| server.port() == port)
    }
}

impl fmt::Display for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = |servers: &[Redis]| {
            let ports = servers.iter().map(|server| server.port().to_string());
            ports.collect::<Vec<_>>().join(", ")
        };
        let (servers, sentinels) = (ports(&self.servers), ports(&self.sentinels));
        writeln!(
            f,
            "  Redis      127.0.0.1, ports {servers}; the first is the master"
        )?;
        writeln!(f, "  sentinels  ports {sentinels}")?;
        for node in &self.nodes {
            writeln!(f, "  node {}     port {}", node.name, node.port)?;
        }
        writeln!(f, "  HAProxy    https://localhost:{}/", self.public)?;
        writeln!(f, "  files      {}", self.folder.path().display())
    }
}

/// The master first.
async fn redis() -> io::Result<(Vec<Redis>, Vec<Redis>)> {
    let master = Redis::start_with(&SERVER);
    let master = master.ok_or_else(|| Programs::missing(&["redis-server"]))?;
    let replicas = [master.replica(), master.replica()];
    let servers: Vec<_> = [master].into_iter().chain(replicas).collect();
    let sentinels = (0..SENTINELS).map(|_| servers[0].sentinel(QUORUM));
    let sentinels: Vec<_> = sentinels.collect();
    // Before they know of each other and of the replicas, nothing takes over.
    for sentinel in &sentinels {
        let asked = async || {
            let known = sentinel.ask(&["SENTINEL", "MASTER", "main"]);
            let all =
                known.contains("num-other-sentinels\n2\n") && known.contains("num-slaves\n2\n");
            all.then_some(())
        };
        until("the sentinels to know of each other", asked).await?;
    }
    Ok((servers, sentinels))
}

/// What seals the values, as its file has it.
pub(super) fn key() -> io::Result<String> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("no randomness"))?;
    Ok(key.map(|byte| format!("{byte:02x}")).concat())
}

/// For its owner alone, as keys have to be.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    io::Write::write_all(&mut options.open(path)?, text.as_bytes())
}
