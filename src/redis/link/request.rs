//! What is sent: a command, several, or a script.

use std::borrow::Cow;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, Pipeline, RedisResult, Script, Value, cmd, pipe};

use super::slots::key_of;

#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    One(&'a Cmd),
    /// All or none of them (MULTI).
    Transaction(&'a Pipeline),
    /// By its hash; the server gets the text when it does not know it.
    Script {
        script: &'a Script,
        keys: &'a [&'a [u8]],
        args: &'a [&'a [u8]],
    },
}

impl Request<'_> {
    pub(super) fn key(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::One(command) => key_of(command).map(Cow::Owned),
            Self::Transaction(commands) => commands.cmd_iter().find_map(key_of).map(Cow::Owned),
            Self::Script { keys, .. } => keys.first().map(|key| Cow::Borrowed(*key)),
        }
    }

    /// `asking` is for a slot that is on its way to this server.
    pub(super) async fn send(
        &self,
        connection: &mut MultiplexedConnection,
        asking: bool,
    ) -> RedisResult<Value> {
        match self {
            Self::One(command) if asking => ask(connection, (*command).clone()).await,
            Self::One(command) => command.query_async(connection).await,
            // The transaction itself would have to ask for each of its commands.
            Self::Transaction(commands) => {
                let answers: Vec<Value> = commands.query_async(connection).await?;
                Ok(Value::Array(answers))
            }
            Self::Script { script, keys, args } if asking => {
                script.prepare_invoke().load_async(connection).await?;
                let mut call = cmd("EVALSHA");
                call.arg(script.get_hash()).arg(keys.len());
                call.arg(*keys).arg(*args);
                ask(connection, call).await
            }
            Self::Script { script, keys, args } => {
                let mut call = script.prepare_invoke();
                for key in *keys {
                    call.key(key);
                }
                for arg in *args {
                    call.arg(arg);
                }
                call.invoke_async(connection).await
            }
        }
    }
}

/// The two together, so that no other command comes between.
async fn ask(connection: &mut MultiplexedConnection, command: Cmd) -> RedisResult<Value> {
    let mut both = pipe();
    both.cmd("ASKING").ignore();
    both.add_command(command);
    let (answer,): (Value,) = both.query_async(connection).await?;
    Ok(answer)
}
