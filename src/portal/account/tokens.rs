//! API tokens, made and revoked by their user on the account page.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;

use super::password::Purpose;
use super::{Account, Visitor, back_to_account};
use crate::auth::api_token::{ApiTokens, MakeError, NewToken, NotAToken, Token, TokenLimits};
use crate::error::RequestError;
use crate::pages::{AccountProblem, TokenAppView, TokenView, TokensView};
use crate::portal::TokenApp;
use crate::portal::form::Form;
use crate::secret::Secret;

/// What the page offers, in days.
const DAYS: [u64; 4] = [7, 30, 90, 365];

/// The methods of a token that only reads.
const READING: [&str; 5] = ["GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT"];

/// A token that was made a moment ago.
pub(super) struct Made {
    text: Secret<String>,
    name: String,
}

/// What the page says of tokens, until it is rendered.
pub(super) struct OnPage {
    apps: Vec<TokenApp>,
    tokens: Vec<Arc<Token>>,
    made: Option<Made>,
}

impl OnPage {
    /// `None` where there is nothing to say: no app takes tokens, and the user has none.
    pub(super) fn of(all: &ApiTokens, visitor: &Visitor<'_>, made: Option<Made>) -> Option<Self> {
        let apps = (visitor.destinations.token_apps)(&visitor.principal);
        let tokens = all.of_user(visitor.user());
        (!apps.is_empty() || !tokens.is_empty()).then_some(Self { apps, tokens, made })
    }

    /// With the apps of this host chosen.
    pub(super) fn view(&self) -> TokensView<'_> {
        TokensView {
            apps: (self.apps.iter())
                .map(|app| TokenAppView {
                    name: &app.name,
                    title: &app.title,
                    is_here: app.is_here,
                })
                .collect(),
            days: &DAYS,
            made: (self.made.as_ref())
                .map(|made| (made.name.as_str(), made.text.expose().as_str())),
            tokens: (self.tokens.iter())
                .map(|token| TokenView {
                    key: token.key().to_string(),
                    name: token.name(),
                    apps: token.scope().apps(),
                    paths: token.scope().paths(),
                    methods: (token.scope().methods().iter())
                        .map(ToString::to_string)
                        .collect(),
                    networks: token.scope().networks().list(),
                    expires: token.expires(),
                    last_used: token.last_used(),
                })
                .collect(),
        }
    }
}

impl Account {
    /// Makes the token that a form asks for, after a fresh proof of the password: whoever finds an
    /// open browser takes nothing along that outlives its session.
    pub(super) async fn make_token(
        &self,
        visitor: &Visitor<'_>,
        mut form: Form,
    ) -> Result<Result<Made, AccountProblem>, RequestError> {
        let apps = (visitor.destinations.token_apps)(&visitor.principal);
        let password = form.take_bytes("password").map(Secret::new)?;
        let new = match asked(&mut form, &apps)? {
            Ok(new) => new,
            Err(problem) => return Ok(Err(problem)),
        };
        let proof = match self.password.prove(visitor, password, Purpose::Token).await {
            Ok(proof) => proof,
            Err(problem) => return Ok(Err(problem)),
        };
        // For the one who has proved the password, and not for whoever has got the name meanwhile.
        let Some(user) = self.password.accounts.still(&proof) else {
            return Ok(Err(AccountProblem::Overtaken));
        };
        let account = visitor.principal.account().clone();
        let (text, token) = match self.tokens.make(account, user.incarnation(), new).await {
            Ok(made) => made,
            Err(MakeError::NoRandomness(error)) => return Err(RequestError::NoRandomness(error)),
            Err(MakeError::TooMany) => return Ok(Err(AccountProblem::TooManyTokens)),
            Err(MakeError::Store(_)) => return Ok(Err(AccountProblem::TokenNotKept)),
        };
        tracing::info!(
            target: "audit", client = %visitor.context.client, user = visitor.user(),
            session = %visitor.session.key().short(), token = %token.key().short(),
            name = token.name(), expires = token.expires().to_rfc3339(),
            "API token made by its user"
        );
        Ok(Ok(Made {
            text: Secret::new(text.expose().to_owned()),
            name: token.name().to_owned(),
        }))
    }

    /// Revokes one of the user's own tokens, whatever key is asked for.
    pub(super) async fn revoke_token(
        &self,
        visitor: &Visitor<'_>,
        key: &str,
    ) -> Result<Response<Bytes>, RequestError> {
        let tokens = self.tokens.of_user(visitor.user());
        let Some(token) = tokens.iter().find(|token| token.key().to_string() == key) else {
            return Ok(back_to_account()); // it is gone, as the user wants it
        };
        tracing::info!(
            target: "audit", client = %visitor.context.client, user = visitor.user(),
            session = %visitor.session.key().short(), token = %token.key().short(),
            "API token revoked by its user"
        );
        match self.tokens.revoke(vec![token.key()]).await {
            Ok(_) => Ok(back_to_account()),
            Err(error) => Err(RequestError::TokenEndNotKept(error)),
        }
    }
}

/// What a form asks for. Its apps are among those that the page has offered.
fn asked(
    form: &mut Form,
    offered: &[TokenApp],
) -> Result<Result<NewToken, AccountProblem>, RequestError> {
    let name = form.take("name")?;
    let days: u64 = form.take("days")?.parse().map_err(|_| RequestError::Form)?;
    let methods = match form.take("methods")?.as_str() {
        "any" => Vec::new(),
        "read" => READING.map(str::to_owned).to_vec(),
        _ => return Err(RequestError::Form),
    };
    let mut apps = Vec::new();
    for n in 0..offered.len() {
        let app = form.take_optional(&format!("app-{n}"))?;
        if offered.iter().any(|offered| *offered.name == *app) {
            apps.push(app);
        }
    }
    if apps.is_empty() {
        return Ok(Err(AccountProblem::NoApp));
    }
    let words = |text: String| text.split([' ', ',']).map(str::to_owned).collect();
    let words = |text: String| -> Vec<String> {
        let words: Vec<String> = words(text);
        words.into_iter().filter(|word| !word.is_empty()).collect()
    };
    let limits = TokenLimits {
        apps,
        paths: words(form.take_optional("paths")?),
        methods,
        networks: words(form.take_optional("networks")?),
    };
    let lifetime = Duration::from_hours(24).saturating_mul(u32::try_from(days).unwrap_or(u32::MAX));
    Ok(
        NewToken::parse(&name, limits, lifetime).map_err(|wrong| match wrong {
            NotAToken::Name => AccountProblem::TokenName,
            NotAToken::Network(_) => AccountProblem::TokenNetwork,
            NotAToken::Path(..) => AccountProblem::TokenPath,
            NotAToken::Lifetime | NotAToken::Method(_) | NotAToken::TooMany => {
                AccountProblem::TokenLimits
            }
        }),
    )
}
