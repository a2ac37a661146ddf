//! Sends commands to the server that has their keys, and judges what comes back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::redis::aio::ConnectionLike;
use ::redis::{Pipeline, RedisError, Value, pipe};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use super::connect::Connection;
use super::error::{LinkError, Verdict, judge};
use super::node::Node;
use super::request::Request;
use super::routes::Member;
use super::shared::Shared;
use super::slots::key_of;

/// From one server to the next that it names.
const MOST_HOPS: usize = 5;

/// Until keys that are on their way may be together.
const PAUSE: Duration = Duration::from_millis(20);

impl Shared {
    pub(super) async fn run(&self, request: Request<'_>) -> Result<Value, LinkError> {
        let deadline = Instant::now() + self.settings.timeout;
        let key = request.key();
        let mut member = self.member_of(key.as_deref()).await?;
        let (mut asking, mut hops) = (false, 0);
        loop {
            let connection = member.node.current().ok_or(LinkError::Unavailable)?;
            let mut handle = connection.handle();
            let answer = timeout_at(deadline, request.send(&mut handle, asking)).await;
            let verdict = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => judge(error),
                Err(_) => Verdict::Lost("no answer in time".to_owned()),
            };
            match verdict {
                Verdict::Elsewhere {
                    address,
                    asking: asks,
                } if hops < MOST_HOPS => {
                    if !asks {
                        self.moved.notify_one();
                    }
                    let routes = self.routes.load();
                    member = Arc::clone(routes.at(&address).ok_or(LinkError::Unavailable)?);
                    (asking, hops) = (asks, hops + 1);
                }
                Verdict::Split if Instant::now() + PAUSE < deadline => sleep(PAUSE).await,
                Verdict::Elsewhere { .. } | Verdict::Split => return Err(LinkError::Unavailable),
                verdict => return Err(failed(&member.node, &connection, verdict)),
            }
        }
    }

    pub(super) async fn pipeline(&self, commands: &Pipeline) -> Result<Vec<Value>, LinkError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        if commands.is_transaction() {
            return match self.run(Request::Transaction(commands)).await? {
                Value::Array(answers) => Ok(answers),
                _ => Err(LinkError::Unavailable),
            };
        }
        // The first is waited for; if it is there, so are the others.
        let first = commands.cmd_iter().find_map(key_of);
        self.member_of(first.as_deref()).await?;
        let routes = self.routes.load_full();
        let mut shares: Vec<(Arc<Member>, Vec<usize>)> = Vec::new();
        for (number, command) in commands.cmd_iter().enumerate() {
            let member = routes.of(key_of(command).as_deref());
            let member = member.ok_or(LinkError::Unavailable)?;
            let share = shares
                .iter_mut()
                .find(|(other, _)| Arc::ptr_eq(other, member));
            match share {
                Some((_, numbers)) => numbers.push(number),
                None => shares.push((Arc::clone(member), vec![number])),
            }
        }
        if let [(member, _)] = &shares[..] {
            return self.send_share(member, commands).await;
        }
        let sending = shares.iter().map(async |(member, numbers)| {
            let mut share = pipe();
            for (_, command) in (commands.cmd_iter().enumerate())
                .filter(|(number, _)| numbers.binary_search(number).is_ok())
            {
                share.add_command(command.clone());
            }
            self.send_share(member, &share).await
        });
        let mut answers = vec![Value::Nil; commands.len()];
        for ((_, numbers), share) in shares.iter().zip(join_all(sending).await) {
            for (number, answer) in numbers.iter().zip(share?) {
                answers[*number] = answer;
            }
        }
        Ok(answers)
    }

    /// Commands that one server has the keys of, or had: what it has no more is sent on one by one.
    async fn send_share(
        &self,
        member: &Member,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, LinkError> {
        let deadline = Instant::now() + self.settings.timeout;
        let connection = member.node.current().ok_or(LinkError::Unavailable)?;
        let mut handle = connection.handle();
        let sending = handle.req_packed_commands(commands, 0, commands.len());
        let Ok(sent) = timeout_at(deadline, sending).await else {
            let verdict = Verdict::Lost("no answer in time".to_owned());
            return Err(failed(&member.node, &connection, verdict));
        };
        let mut answers = sent.map_err(|error| failed(&member.node, &connection, judge(error)))?;
        if answers.len() != commands.len() {
            return Err(LinkError::Unavailable);
        }
        for (answer, command) in answers.iter_mut().zip(commands.cmd_iter()) {
            let Value::ServerError(error) = answer else {
                continue;
            };
            match judge(RedisError::from(error.clone())) {
                Verdict::Elsewhere { .. } | Verdict::Split => {
                    *answer = self.run(Request::One(command)).await?;
                }
                verdict => return Err(failed(&member.node, &connection, verdict)),
            }
        }
        Ok(answers)
    }

    /// The server of a key. Before the first connection, it is waited for a little.
    async fn member_of(&self, key: Option<&[u8]>) -> Result<Arc<Member>, LinkError> {
        let found = || {
            let routes = self.routes.load();
            let member = routes.of(key)?;
            member.node.current().map(|_| Arc::clone(member))
        };
        if let Some(member) = found() {
            return Ok(member);
        }
        // At the start only: afterwards, nobody waits for a connection.
        if !self.was_connected.load(Ordering::Relaxed) {
            let mut generation = self.generation.subscribe();
            let _ = timeout_at(self.patience, generation.wait_for(|it| it.connected)).await;
        }
        found().ok_or(LinkError::Unavailable)
    }
}

fn failed(node: &Node, connection: &Arc<Connection>, verdict: Verdict) -> LinkError {
    match verdict {
        Verdict::Failed(error) => error,
        Verdict::Lost(why) => {
            tracing::debug!(why, "a connection to the session store is given up");
            node.lose(connection);
            LinkError::Unavailable
        }
        Verdict::Elsewhere { .. } | Verdict::Split => LinkError::Unavailable,
    }
}
