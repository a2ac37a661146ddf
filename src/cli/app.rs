//! `vestibule app`: closes an app of the running server for maintenance, and opens it again.

use clap::Subcommand;

use super::admin_client::foreign;
use super::{ConfigFile, Failure, print};
use crate::admin::protocol::{Done, Request};
use crate::proxy::{NoSentence, Sentence};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Close an app for maintenance, until it is resumed or the server restarts
    Pause(Pause),
    /// Open an app again that was paused
    Resume(Resume),
}

#[derive(Debug, clap::Args)]
struct Pause {
    /// The name of the app, as `status` shows it
    name: String,
    /// What visitors read, in a sentence or two
    sentence: Option<String>,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, clap::Args)]
struct Resume {
    /// The name of the app, as `status` shows it
    name: String,
    #[command(flatten)]
    config: ConfigFile,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.action {
        Action::Pause(args) => pause(args),
        Action::Resume(args) => resume(args),
    }
}

fn pause(args: &Pause) -> Result<(), Failure> {
    let sentence = match args.sentence.as_deref().map(Sentence::parse).transpose() {
        Ok(sentence) => sentence,
        Err(NoSentence::Empty) => None,
        Err(no_sentence) => return Err(Failure::Usage(no_sentence.to_string())),
    };
    let name = &args.name;
    let request = Request::AppPause {
        app: name.clone(),
        sentence: sentence.map(|sentence| sentence.as_str().to_owned()),
    };
    let Done::Paused {} = args.config.client()?.ask(&request)?.done? else {
        return Err(foreign());
    };
    print(format!(
        "{name} is closed until `vestibule app resume {name}` or a restart\n"
    ))
}

fn resume(args: &Resume) -> Result<(), Failure> {
    let name = &args.name;
    let request = Request::AppResume { app: name.clone() };
    let Done::Resumed { was_paused } = args.config.client()?.ask(&request)?.done? else {
        return Err(foreign());
    };
    print(if was_paused {
        format!("{name} is open again\n")
    } else {
        format!("{name} was not paused\n")
    })
}
