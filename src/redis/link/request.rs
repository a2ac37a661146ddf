//! What is sent: a command, several, or a script.

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, Pipeline, RedisResult, Script, Value};

#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    One(&'a Cmd),
    Several(&'a Pipeline),
    /// By its hash; the server gets the text when it does not know it.
    Script {
        script: &'a Script,
        keys: &'a [&'a [u8]],
        args: &'a [&'a [u8]],
    },
}

impl Request<'_> {
    pub(super) async fn send(&self, connection: &mut MultiplexedConnection) -> RedisResult<Value> {
        match self {
            Self::One(command) => command.query_async(connection).await,
            Self::Several(commands) => {
                let answers: Vec<Value> = commands.query_async(connection).await?;
                Ok(Value::Array(answers))
            }
            Self::Script { script, keys, args } => {
                let mut invocation = script.prepare_invoke();
                for key in *keys {
                    invocation.key(key);
                }
                for arg in *args {
                    invocation.arg(arg);
                }
                invocation.invoke_async(connection).await
            }
        }
    }
}
