//! `vestibule check`: what is wrong, or will be soon, and how to fix it; or who may open an
//! address.

mod explain;
mod facts;
mod report;
mod through;

use std::net::{IpAddr, SocketAddr};

use http::Method;
use serde_json::json;

use super::{ConfigFile, Failure, print};
use report::Report;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Show who may open this address, and by which rule; wss:// is for a WebSocket
    #[arg(long, group = "asked")]
    url: Option<String>,
    /// The user who asks; without it, a visitor without a session
    #[arg(long, value_name = "NAME", requires = "url")]
    user: Option<String>,
    /// The API token that a program shows, by its key in `token list` of the running server
    #[arg(long, value_name = "KEY", requires = "url", conflicts_with = "user")]
    token: Option<String>,
    /// The address that the user is at; without it, any. With `--through`, an address of this
    /// machine that the proxy sees the requests come from
    #[arg(long, value_name = "ADDRESS", requires = "asked")]
    from: Option<IpAddr>,
    /// The method of the request
    #[arg(long, default_value = "GET", requires = "url")]
    method: Method,
    /// Send spoofed requests through the proxy in front, and show what it lets clients choose
    #[arg(long, value_name = "URL", group = "asked")]
    through: Option<String>,
    /// Where the proxy in front listens; without it, where the host of the URL leads
    #[arg(long, value_name = "ADDRESS:PORT", requires = "through")]
    connect_to: Option<SocketAddr>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.config.load().inspect_err(|failure| {
        if let (true, Failure::Config(error)) = (args.json, failure) {
            let report = json!({ "ok": false, "problems": error.problems() });
            // The failure itself is told on standard error either way.
            let _ = print(format!("{report:#}\n"));
        }
    })?;
    if let Some(url) = &args.url {
        let token = args.token.as_deref();
        let token = token.map(|key| explain::Token::of_server(&config, key));
        let token = token.transpose()?;
        let of_token = token.as_ref().map(|token| &*token.view.user);
        let perspective = explain::Perspective {
            user: args.user.as_deref().or(of_token),
            token: token.as_ref(),
            from: args.from,
        };
        let answer = explain::ask(&config, url, &args.method, perspective)?;
        return print(if args.json {
            format!("{:#}\n", json!(answer))
        } else {
            answer.text()
        });
    }
    if let Some(url) = &args.through {
        let verdict = through::ask(&config, url, args.connect_to, args.from)?;
        print(if args.json {
            format!("{:#}\n", json!(verdict))
        } else {
            verdict.text()
        })?;
        return verdict.result();
    }
    let report = Report::make(&config, &args.config.path)?;
    print(if args.json {
        format!("{:#}\n", report.json())
    } else {
        report.text()
    })?;
    // What keeps the service from starting is no configuration to start with (SEC-80).
    match report.verdict() {
        Err(verdict) => Err(Failure::Invalid(verdict)),
        Ok(_) => Ok(()),
    }
}
