//! Makes, lists and revokes API tokens for an operator.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWrite;

use super::apps::no_app;
use super::protocol::{Done, Line, NewTokenRequest, TokenView};
use super::{Answer, Context, Peer};
use crate::auth::api_token::{ApiTokens, MakeError, NewToken, Token, TokenKeyPrefix};
use crate::auth::authenticators::StoreError;
use crate::principal::AccountRef;
use crate::telemetry::printable;

/// How many tokens are shown that a beginning of a key fits.
const MAX_MATCHES: usize = 16;

/// Gives the last line of the answer, as all here do.
pub(super) async fn add(context: &Context, request: NewTokenRequest, peer: Peer) -> Line {
    let account = AccountRef::of_users_file(&request.user);
    context.accounts.refresh();
    if let Err(error) = context.accounts.catch_up().await {
        return Line::Error(format!("no token was made: {error}"));
    }
    let Some(account) = context.accounts.active(&account) else {
        let user = printable(&request.user);
        return Line::Error(format!(
            "there is no user `{user}` who may sign in; `vestibule user list` shows all of them"
        ));
    };
    for app in &request.limits.apps {
        match context.server.service.takes_tokens(app) {
            Ok(true) => {}
            Ok(false) => {
                let app = printable(app);
                return Line::Error(format!(
                    "the app `{app}` takes no tokens: write tokens = true into its [[app]], and run \
                     `vestibule reload`"
                ));
            }
            Err(unknown) => return no_app(app, &unknown),
        }
    }
    let lifetime = Duration::from_secs(request.seconds);
    let new = match NewToken::parse(&request.name, request.limits, lifetime) {
        Ok(new) => new,
        Err(wrong) => return Line::Error(wrong.to_string()),
    };
    let user = account.identity().user();
    let (text, token) = match context
        .tokens
        .make(AccountRef::of_users_file(user), account.incarnation(), new)
        .await
    {
        Ok(made) => made,
        Err(error) => return Line::Error(not_made(&error).to_owned()),
    };
    tracing::info!(
        target: "audit", by = peer.uid, pid = peer.pid, user, token = %token.key().short(),
        name = token.name(), expires = token.expires().to_rfc3339(), "API token made"
    );
    Line::Done(Done::Made {
        token: text.expose().to_owned(),
        view: Box::new(view(&context.tokens, &token)),
    })
}

pub(super) async fn list<W: AsyncWrite + Unpin>(
    context: &Context,
    user: Option<&str>,
    answer: &mut Answer<W>,
) -> io::Result<Line> {
    if let Err(error) = context.tokens.check_known() {
        return Ok(not_known(error));
    }
    let tokens = match user {
        Some(user) => context.tokens.of_user(user),
        None => context.tokens.all(),
    };
    show(&context.tokens, &tokens, answer).await?;
    Ok(Line::Done(Done::Listed {
        next: None,
        streams_unknown_of: Vec::new(),
    }))
}

/// Revokes the token whose key begins with `key`; none when that fits several, which are shown.
pub(super) async fn revoke<W: AsyncWrite + Unpin>(
    context: &Context,
    key: &str,
    peer: Peer,
    answer: &mut Answer<W>,
) -> io::Result<Line> {
    let Some(prefix) = TokenKeyPrefix::parse(key) else {
        let wrong = printable(key);
        return Ok(Line::Error(format!(
            "`{wrong}` is no key of a token: write 8 to 64 hexadecimal digits"
        )));
    };
    let found = context.tokens.beginning_with(&prefix);
    let [token] = found.as_slice() else {
        if found.is_empty() {
            let known = context.tokens.check_known();
            let no_such = || Line::Error(format!("the key of no token begins with {key}"));
            return Ok(known.err().map_or_else(no_such, not_known));
        }
        let shown = &found[..found.len().min(MAX_MATCHES)];
        show(&context.tokens, shown, answer).await?;
        let count = found.len();
        return Ok(Line::Error(format!(
            "the keys of {count} tokens begin with {key}: write more digits of one; none was revoked"
        )));
    };
    Ok(revoke_each(context, &found, peer, Some(token.user())).await)
}

/// Revokes the tokens of a user, however the name is spelled.
pub(super) async fn revoke_of_user(context: &Context, user: &str, peer: Peer) -> Line {
    let tokens = context.tokens.of_user(user);
    if let Err(error) = context.tokens.check_known()
        && tokens.is_empty()
    {
        return not_known(error);
    }
    revoke_each(context, &tokens, peer, None).await
}

async fn revoke_each(
    context: &Context,
    tokens: &[Arc<Token>],
    peer: Peer,
    user: Option<&str>,
) -> Line {
    let keys = tokens.iter().map(|token| token.key()).collect();
    let revoked = context.tokens.revoke(keys).await;
    for token in tokens {
        tracing::info!(
            target: "audit", by = peer.uid, pid = peer.pid, user = token.user(),
            token = %token.key().short(), "API token revoked"
        );
    }
    match revoked {
        Ok(tokens) => Line::Done(Done::Revoked {
            tokens,
            user: user.map(str::to_owned),
        }),
        Err(error @ StoreError::NotEverywhere(_)) => {
            Line::Error(format!("revoked on this node alone: {error}"))
        }
        Err(error) => Line::Error(format!(
            "revoked in this server, but that could not be written down: {error}. It is tried \
             again; should the server crash before, look again after its start"
        )),
    }
}

async fn show<W: AsyncWrite + Unpin>(
    all: &ApiTokens,
    tokens: &[Arc<Token>],
    answer: &mut Answer<W>,
) -> io::Result<()> {
    for token in tokens {
        let view = Box::new(view(all, token));
        answer.line(&Line::Token(view)).await?;
    }
    Ok(())
}

fn view(all: &ApiTokens, token: &Token) -> TokenView {
    TokenView::of(token, all.now())
}

/// Of tokens that nodes share.
fn not_known(error: StoreError) -> Line {
    Line::Error(format!(
        "{error}, and nobody can say which API tokens there are: try again when `vestibule status` says \
         that the session store is back"
    ))
}

fn not_made(error: &MakeError) -> &'static str {
    match error {
        MakeError::TooMany => {
            "there are too many tokens: `vestibule token list` shows them; revoke those that nobody \
             uses"
        }
        MakeError::NoRandomness(_) => "the system gives no random bytes",
        MakeError::Store(StoreError::Away) => {
            "no token was made: the session store cannot be reached; try again when `vestibule status` \
             says that it is back"
        }
        MakeError::Store(StoreError::TooLarge) => {
            "the token is limited in too many words: name fewer apps, paths and networks"
        }
        MakeError::Store(_) => "the token could not be kept; the server's log says why",
    }
}
