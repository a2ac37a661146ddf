//! What is shown, step by step.

use std::io;
use std::time::Duration;

use hyper::StatusCode;
use tokio::time::{Instant, sleep, timeout};

use super::fleet::{Fleet, NAMES};
use super::websocket::WebSocket;
use super::{say, until};
use crate::client::Client;
use crate::peers::PASSWORD;

/// An end has reached every node after this.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// What shows that somebody has a session: the app says who they are.
pub(super) const WHO: &str = "/who";

pub(super) struct Walk {
    fleet: Fleet,
    done: usize,
    failed: usize,
}

impl Walk {
    pub(super) fn new(fleet: Fleet) -> Self {
        Self {
            fleet,
            done: 0,
            failed: 0,
        }
    }

    /// How many steps were gone, and how many of them were not as they should be.
    pub(super) fn result(&self) -> (usize, usize) {
        (self.done, self.failed)
    }

    pub(super) async fn run(&mut self) {
        let step = self.login().await;
        self.tell("a login is a session on every node", step);
        let step = self.logout().await;
        self.tell("a logout on A closes the WebSockets of B and C", step);
        let step = self.revoke().await;
        self.tell(
            "`vestibule session revoke` on A ends what is open on B and C",
            step,
        );
        let step = self.failover().await;
        self.tell("the master is killed", step);
        let step = self.node_dies().await;
        self.tell("node C is killed", step);
        let step = self.store_away().await;
        self.tell("the store hangs, and comes back", step);
    }

    fn tell(&mut self, what: &str, step: io::Result<Vec<String>>) {
        self.done += 1;
        let (word, lines) = match step {
            Ok(lines) => ("ok    ", lines),
            Err(error) => {
                self.failed += 1;
                ("FAILED", vec![error.to_string()])
            }
        };
        say(&format!("{word}  {}. {what}\n", self.done));
        for line in lines {
            say(&format!("           {line}\n"));
        }
    }

    async fn login(&self) -> io::Result<Vec<String>> {
        let mut ada = self.fleet.visitor()?;
        ada.sign_in("/.vestibule/login", "ada", PASSWORD).await?;
        let mut lines = vec!["ada signs in through HAProxy".to_owned()];
        for (node, name) in NAMES.iter().enumerate() {
            let ada = self.fleet.at(node, &ada);
            has_session(&ada, "ada").await?;
            let mut socket = WebSocket::open(&ada).await?;
            socket.ask().await?;
            lines.push(format!("{name}: the app sees ada, and a WebSocket opens"));
        }
        Ok(lines)
    }

    async fn logout(&self) -> io::Result<Vec<String>> {
        let ada = self.fleet.sign_in(0, "ada").await?;
        let sockets = self.sockets(&ada, &[1, 2]).await?;
        let began = Instant::now();
        expect(ada.sign_out().await?, StatusCode::SEE_OTHER)?;
        let mut lines = closed(sockets, began).await?;
        self.have_no_session(&ada).await?;
        lines.push("her cookie opens nothing on A, B and C".to_owned());
        Ok(lines)
    }

    async fn revoke(&self) -> io::Result<Vec<String>> {
        let bob = self.fleet.sign_in(1, "bob").await?;
        let carol = self.fleet.sign_in(1, "carol").await?;
        let sockets = self.sockets(&bob, &[1, 2]).await?;
        let mut other = WebSocket::open(&self.fleet.at(2, &carol)).await?;
        let began = Instant::now();
        let revoke = ["session", "revoke", "--user", "bob"];
        let said = self.fleet.nodes[0].command(&revoke).await?;
        let mut lines = vec![format!("A says: {said}")];
        lines.extend(closed(sockets, began).await?);
        self.have_no_session(&bob).await?;
        other.ask().await?;
        lines.push("carol's WebSocket stays open".to_owned());
        Ok(lines)
    }

    async fn failover(&mut self) -> io::Result<Vec<String>> {
        let carol = self.fleet.sign_in(0, "carol").await?;
        let dave = self.fleet.sign_in(1, "dave").await?;
        // B knows her session before, and C hears of it from the new master only.
        has_session(&self.fleet.at(1, &carol), "carol").await?;
        let mut socket = WebSocket::open(&carol).await?;
        expect(dave.sign_out().await?, StatusCode::SEE_OTHER)?;
        let no_master = || io::Error::other("the sentinels know no master");
        let old = self.fleet.master().ok_or_else(no_master)?;
        let began = Instant::now();
        self.fleet.servers[old].kill();
        let during = self.without(old, &carol, &dave).await;
        // Whatever came of it: the next steps need it.
        self.fleet.servers[old].start_again();
        let mut lines = during?;
        socket.ask().await?;
        lines.push("her WebSocket on A is open".to_owned());
        let master = self.fleet.until_whole().await?;
        let all = ms(began.elapsed());
        lines.push(if master == old {
            format!("the old master is back, and was made the master again: {all} in all")
        } else {
            format!("the old master is back, and follows the new one: {all} in all")
        });
        Ok(lines)
    }

    /// From the end of a master until every node has found the next.
    async fn without(&self, old: usize, carol: &Client, dave: &Client) -> io::Result<Vec<String>> {
        let mut answers = 0;
        let asked = async || {
            for node in [0, 1] {
                let known = has_session(&self.fleet.at(node, carol), "carol").await;
                if let Err(error) = known {
                    return Some(Err(error));
                }
                answers += 1;
            }
            (self.fleet.master() != Some(old)).then_some(Ok(()))
        };
        let (meanwhile, named) = until("the sentinels to name another master", asked).await?;
        meanwhile?;
        let write = async || self.fleet.sign_in(2, "erin").await.ok();
        let (_, writable) = until("a login on C", write).await?;
        self.are_ready(true).await?;
        for node in 0..NAMES.len() {
            has_session(&self.fleet.at(node, carol), "carol").await?;
        }
        self.have_no_session(dave).await?;
        Ok(vec![
            format!("carol is answered {answers} times meanwhile, from what A and B know"),
            format!("the sentinels name another master after {}", ms(named)),
            format!("erin signs in on C {} after that", ms(writable)),
            "carol's session opens on A, B and C, and dave's, who had signed out, on none"
                .to_owned(),
        ])
    }

    async fn node_dies(&mut self) -> io::Result<Vec<String>> {
        let carol = self.fleet.sign_in(2, "carol").await?;
        let through = carol.led_through(self.fleet.public);
        let mut socket = WebSocket::open(&self.fleet.at(0, &carol)).await?;
        self.fleet.nodes[2].kill()?;
        let (began, mut asked) = (Instant::now(), 0);
        let asking = async {
            while began.elapsed() < Duration::from_secs(2) {
                has_session(&through, "carol").await?;
                asked += 1;
                sleep(Duration::from_millis(20)).await;
            }
            socket.ask().await
        };
        let answered = asking.await;
        self.fleet.nodes[2].start().await?;
        answered?;
        has_session(&self.fleet.at(2, &carol), "carol").await?;
        Ok(vec![
            format!("carol, who signed in there, is answered all {asked} times through HAProxy"),
            "C is started again, and knows her".to_owned(),
        ])
    }

    async fn store_away(&self) -> io::Result<Vec<String>> {
        let carol = self.fleet.sign_in(0, "carol").await?;
        let mut socket = WebSocket::open(&carol).await?;
        has_session(&carol, "carol").await?;
        let unknown = self.fleet.at(1, &carol);
        self.fleet
            .servers
            .iter()
            .for_each(super::redis::Redis::stop);
        let noticed = self.are_ready(false).await;
        let away = async |socket: &mut WebSocket| {
            has_session(&carol, "carol").await?;
            socket.ask().await?;
            expect(unknown.fetch(WHO).await?.0, StatusCode::SERVICE_UNAVAILABLE)?;
            match self.fleet.sign_in(2, "erin").await {
                Err(error) if error.to_string().contains("503") => Ok(()),
                Err(error) => Err(error),
                Ok(_) => Err(io::Error::other("somebody signs in without a store")),
            }
        };
        // Whatever comes of it, the servers have to go on.
        let away = match &noticed {
            Ok(_) => away(&mut socket).await,
            Err(_) => Ok(()),
        };
        self.fleet
            .servers
            .iter()
            .for_each(super::redis::Redis::go_on);
        let noticed = noticed?;
        away?;
        let back = self.are_ready(true).await?;
        let ((), known) = until("her session on B", async || {
            has_session(&unknown, "carol").await.ok()
        })
        .await?;
        // The sentinels may have named another master meanwhile, whose replicas come later.
        let write = async || self.fleet.sign_in(2, "erin").await.ok();
        let (_, writable) = until("a login on C", write).await?;
        socket.ask().await?;
        Ok(vec![
            format!("each node says so at /readyz, after {}", ms(noticed)),
            "A knows carol: she is answered, and her WebSocket stays open".to_owned(),
            "B does not: 503, and not a word of a login. A login on C: 503".to_owned(),
            format!(
                "it is back: {} later the nodes are ready, then B knows carol after {}, and erin signs in after {}",
                ms(back),
                ms(known),
                ms(writable)
            ),
        ])
    }

    async fn are_ready(&self, ready: bool) -> io::Result<Duration> {
        let asked = async || {
            for node in &self.fleet.nodes {
                if node.is_ready().await != ready {
                    return None;
                }
            }
            Some(())
        };
        Ok(until("all nodes to notice", asked).await?.1)
    }

    async fn sockets(&self, of: &Client, nodes: &[usize]) -> io::Result<Vec<(&str, WebSocket)>> {
        let mut sockets = Vec::new();
        for &node in nodes {
            let mut socket = WebSocket::open(&self.fleet.at(node, of)).await?;
            socket.ask().await?;
            sockets.push((NAMES[node], socket));
        }
        Ok(sockets)
    }

    async fn have_no_session(&self, of: &Client) -> io::Result<()> {
        for node in 0..NAMES.len() {
            let answer = self.fleet.at(node, of).fetch(WHO).await?;
            expect(answer.0, StatusCode::UNAUTHORIZED)?;
        }
        Ok(())
    }
}

/// Waits until they are closed.
async fn closed(sockets: Vec<(&str, WebSocket)>, began: Instant) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    for (node, socket) in sockets {
        let closed = timeout(ENDS_WITHIN, socket.closed()).await;
        let still = |_| io::Error::other(format!("a WebSocket on {node} is still open"));
        let after = closed.map_err(still)??.duration_since(began);
        lines.push(format!(
            "the WebSocket on {node} is closed after {}",
            ms(after)
        ));
    }
    Ok(lines)
}

async fn has_session(of: &Client, user: &str) -> io::Result<()> {
    let (status, body) = of.fetch(WHO).await?;
    expect(status, StatusCode::OK)?;
    if body != user.as_bytes() {
        return Err(io::Error::other(format!(
            "the app sees {body:?}, not {user}"
        )));
    }
    Ok(())
}

pub(super) fn expect(status: StatusCode, due: StatusCode) -> io::Result<()> {
    if status == due {
        Ok(())
    } else {
        Err(io::Error::other(format!("{status}, and not {due}")))
    }
}

fn ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}
