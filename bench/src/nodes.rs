//! Three nodes behind HAProxy, Redis with two replicas and three sentinels, all on this machine:
//! shows what the nodes do together, whatever is killed of it.

mod figures;
mod fleet;
mod node;
#[expect(
    clippy::unwrap_used,
    reason = "the tests have it, too; a panic ends all that was started"
)]
#[path = "../../tests/it/harness/redis.rs"]
mod redis;
mod walk;
mod websocket;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::figures::{Measured, Subject};
use self::fleet::{Fleet, Programs};
use self::walk::Walk;

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(3);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The Vestibule to show, instead of the one that is built beside this program
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Measures instead, and makes a table with the bars that are set
    #[arg(long)]
    measure: bool,
    /// The Vestibule that follows in the rolling upgrade, instead of the same one
    #[arg(long, value_name = "PATH", requires = "measure")]
    program_after: Option<PathBuf>,
    /// Only these
    #[arg(
        long,
        value_name = "NAME,..",
        value_delimiter = ',',
        requires = "measure"
    )]
    only: Vec<Subject>,
    /// A few of everything, to see that it works; its figures mean nothing
    #[arg(long, requires = "measure")]
    quick: bool,
}

/// # Errors
/// Something is missing, or was not as it should be.
pub(crate) async fn run(
    arguments: &Arguments,
    vestibule: impl FnOnce(Option<&Path>) -> io::Result<PathBuf>,
) -> io::Result<()> {
    // Before anything is built: it takes minutes.
    let programs = Programs::find()?;
    let vestibule = vestibule(arguments.program.as_deref())?;
    if arguments.measure {
        let after = arguments.program_after.as_deref();
        let measured = Measured {
            programs: &programs,
            vestibule: &vestibule,
            after,
        };
        return figures::run(&measured, &arguments.only, arguments.quick).await;
    }
    let began = Instant::now();
    let fleet = Fleet::start(&programs, &vestibule).await?;
    say(&format!(
        "{fleet}Started in {:.1} s.\n\n",
        began.elapsed().as_secs_f64()
    ));
    let mut walk = Walk::new(fleet);
    walk.run().await;
    let (done, failed) = walk.result();
    say(&format!(
        "\n{} of {} steps as they should be\n",
        done - failed,
        done
    ));
    if failed > 0 {
        return Err(io::Error::other(format!(
            "{failed} steps were not as they should be"
        )));
    }
    Ok(())
}

/// A reader like `head` that has seen enough is no failure.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Asks until there is an answer; gives how long that took, too.
///
/// # Errors
/// There is none for three minutes.
async fn until<T>(
    what: &str,
    mut asked: impl AsyncFnMut() -> Option<T>,
) -> io::Result<(T, Duration)> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(answer) = asked().await {
            return Ok((answer, began.elapsed()));
        }
        sleep(Duration::from_millis(5)).await;
    }
    Err(io::Error::other(format!("waited in vain for {what}")))
}
