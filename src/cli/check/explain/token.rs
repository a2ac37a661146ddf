//! An API token of the running server, and what it is good for.

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use ipnet::IpNet;

use crate::admin::protocol::{Done, Request, TokenView};
use crate::auth::api_token::TokenKeyPrefix;
use crate::cli::Failure;
use crate::cli::admin_client::{Client, foreign};
use crate::config::Config;
use crate::principal::Scope;
use crate::request::Networks;

#[derive(Debug)]
pub(in crate::cli::check) struct Token {
    pub(in crate::cli::check) view: TokenView,
    pub(super) scope: Arc<Scope>,
}

impl Token {
    /// The one whose key begins so.
    pub(in crate::cli::check) fn of_server(config: &Config, key: &str) -> Result<Self, Failure> {
        if TokenKeyPrefix::parse(key).is_none() {
            return Err(Failure::Usage(format!(
                "`{key}` is no key of a token: write 8 to 64 hexadecimal digits, as `vestibule \
                 token list` shows them"
            )));
        }
        let answer = Client::new(config)?.ask(&Request::TokenList { user: None })?;
        let Done::Listed { .. } = answer.done? else {
            return Err(foreign());
        };
        let key = key.to_ascii_lowercase();
        let tokens = answer.tokens.into_iter();
        let mut found = tokens.filter(|token| token.key.starts_with(&key));
        match (found.next(), found.count()) {
            (Some(view), 0) => Self::new(view).ok_or_else(foreign),
            (None, _) => Err(Failure::Failed(format!(
                "the key of no token begins with {key}"
            ))),
            (Some(_), more) => Err(Failure::Failed(format!(
                "the keys of {} tokens begin with {key}: write more digits of one",
                more + 1
            ))),
        }
    }

    pub(super) fn new(view: TokenView) -> Option<Self> {
        let methods = view.methods.iter();
        let methods = methods.map(|method| Method::from_bytes(method.as_bytes()).ok());
        let networks = view.networks.iter().map(|network| {
            let one = || network.parse::<IpAddr>().ok().map(IpNet::from);
            network.parse::<IpNet>().ok().or_else(one)
        });
        let scope = Scope::new(
            view.apps.clone(),
            view.paths.clone(),
            methods.collect::<Option<_>>()?,
            Networks::new(networks.collect::<Option<_>>()?),
        );
        Some(Self {
            view,
            scope: Arc::new(scope),
        })
    }
}
