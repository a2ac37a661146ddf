//! `vestibule token`: makes, lists and revokes API tokens of the running server.

mod table;

pub(super) use table::opens;

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::admin_client::{Client, foreign};
use super::session::safe;
use super::{ConfigFile, Failure, print};
use crate::admin::protocol::{Done, NewTokenRequest, Request, TokenView};
use crate::auth::api_token::{DEFAULT_LIFETIME, TokenKeyPrefix, TokenLimits};
use crate::config::value;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token by which a program acts for a user; its text is shown only now
    Add(Add),
    /// List the tokens; times are in UTC
    List(List),
    /// Revoke one token, or those of a user, and close their open streams
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The user whom the program acts for
    user: String,
    /// What it is for, so that people know it in a list
    #[arg(long, default_value = "command line")]
    name: String,
    /// How long it is good for: 12h, 30d, up to 366d; without it, 90d
    #[arg(long = "for", value_name = "DURATION", value_parser = value::duration_of)]
    lifetime: Option<Duration>,
    /// An app that it opens, by its name in the configuration; may be repeated. Without it, every
    /// app that takes tokens
    #[arg(long = "app", value_name = "NAME")]
    apps: Vec<String>,
    /// A path that it opens, with all below it; may be repeated
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<String>,
    /// A method that it may use; may be repeated
    #[arg(long = "method", value_name = "METHOD")]
    methods: Vec<String>,
    /// A network or an address that it may be used from; may be repeated
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only those of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Print JSON: an array with one token on each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The key of a token, as `token list` shows it, or at least its first 8 digits
    key: Option<String>,
    /// All tokens of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.action {
        Action::Add(args) => add(&args.config.client()?, args),
        Action::List(args) => list(&args.config.client()?, args),
        Action::Revoke(args) => revoke(&args.config.client()?, &args.which),
    }
}

/// The text of the token is the only result, so that a script can take it.
fn add(client: &Client, args: &Add) -> Result<(), Failure> {
    let answer = client.ask(&Request::TokenAdd(NewTokenRequest {
        user: args.user.clone(),
        name: args.name.clone(),
        seconds: args.lifetime.unwrap_or(DEFAULT_LIFETIME).as_secs(),
        limits: TokenLimits {
            apps: args.apps.clone(),
            paths: args.paths.clone(),
            methods: args.methods.clone(),
            networks: args.networks.clone(),
        },
    }))?;
    let Done::Made { token, view } = answer.done? else {
        return Err(foreign());
    };
    if args.json {
        let mut shown = json!(view);
        shown["token"] = token.into();
        return print(format!("{shown:#}\n"));
    }
    print(format!("{token}\n"))?;
    let (user, key) = (safe(&view.user), view.key.get(..8).unwrap_or(&view.key));
    eprintln!(
        "vestibule: token {key} of {user}, good until {}; nobody can show its text again",
        view.expires
    );
    Ok(())
}

fn list(client: &Client, args: &List) -> Result<(), Failure> {
    let answer = client.ask(&Request::TokenList {
        user: args.user.clone(),
    })?;
    let Done::Listed { .. } = answer.done? else {
        return Err(foreign());
    };
    let tokens = &answer.tokens;
    if args.json {
        let lines: Vec<_> = tokens
            .iter()
            .map(|token| json!(token).to_string())
            .collect();
        return print(match lines.as_slice() {
            [] => "[]\n".to_owned(),
            lines => format!("[\n{}\n]\n", lines.join(",\n")),
        });
    }
    match &args.user {
        Some(user) if tokens.is_empty() => eprintln!("vestibule: {user} has no tokens"),
        None if tokens.is_empty() => eprintln!("vestibule: there are no tokens"),
        _ => print(table::of(tokens))?,
    }
    Ok(())
}

fn revoke(client: &Client, which: &Which) -> Result<(), Failure> {
    let request = match which {
        Which { key: Some(key), .. } if TokenKeyPrefix::parse(key).is_none() => {
            return Err(Failure::Usage(format!(
                "`{key}` is no key of a token: write 8 to 64 hexadecimal digits, as `vestibule \
                 token list` shows them"
            )));
        }
        Which { key: Some(key), .. } => Request::TokenRevoke { key: key.clone() },
        Which { user, .. } => Request::TokenRevokeOfUser {
            user: user.clone().unwrap_or_default(),
        },
    };
    let answer = client.ask(&request)?;
    for several in &answer.tokens {
        let TokenView {
            key, user, name, ..
        } = several;
        eprintln!("{key}  {}  {}", safe(user), safe(name));
    }
    let Done::Revoked { tokens, user } = answer.done? else {
        return Err(foreign());
    };
    let noun = if tokens == 1 { "token" } else { "tokens" };
    print(match user.as_ref().or(which.user.as_ref()) {
        Some(user) if tokens == 0 => format!("{user} has no tokens: none revoked\n"),
        Some(user) => format!("revoked {tokens} {noun} of {user}\n"),
        None => format!("revoked {tokens} {noun}\n"),
    })
}
