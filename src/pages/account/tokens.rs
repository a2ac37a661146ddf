//! The user's API tokens on the account page.

use minijinja::{Value, context};

use crate::clock::Timestamp;
use crate::pages::humanise;
use crate::pages::messages::texts::{self, fill};

/// What the page shows of tokens.
pub(crate) struct TokensView<'a> {
    /// Those that take tokens.
    pub(crate) apps: Vec<TokenAppView<'a>>,
    /// How long a token may be good for.
    pub(crate) days: &'a [u64],
    /// Name and text of the one that was just made.
    pub(crate) made: Option<(&'a str, &'a str)>,
    pub(crate) tokens: Vec<TokenView<'a>>,
}

pub(crate) struct TokenAppView<'a> {
    pub(crate) name: &'a str,
    pub(crate) title: &'a str,
    /// It is of the host of the page.
    pub(crate) is_here: bool,
}

/// One of the user's tokens.
pub(crate) struct TokenView<'a> {
    /// All 64 hex digits; people see 8 of them.
    pub(crate) key: String,
    pub(crate) name: &'a str,
    pub(crate) apps: &'a [String],
    pub(crate) paths: &'a [String],
    pub(crate) methods: Vec<String>,
    pub(crate) networks: Vec<String>,
    pub(crate) expires: Timestamp,
    pub(crate) last_used: Option<Timestamp>,
}

impl TokensView<'_> {
    pub(super) fn context(&self, now: Timestamp) -> Value {
        let apps = self.apps.iter();
        let apps = apps
            .map(|app| context! { name => app.name, title => app.title, is_here => app.is_here });
        let title = |name: &String| {
            let app = self.apps.iter().find(|app| app.name == name);
            app.map_or(&**name, |app| app.title).to_owned()
        };
        let tokens = self.tokens.iter();
        let tokens = tokens.map(|token| token.context(token.apps.iter().map(title), now));
        context! {
            apps => apps.collect::<Vec<_>>(),
            days => self.days.to_vec(),
            made => self.made.map(|(name, text)| context! { name, text }),
            list => tokens.collect::<Vec<_>>(),
        }
    }
}

impl TokenView<'_> {
    /// `apps` are those of the token, as people call them.
    fn context(&self, apps: impl Iterator<Item = String>, now: Timestamp) -> Value {
        let when = |moment| humanise::relative(moment, now);
        let ends = if now < self.expires {
            texts::ACCOUNT_TOKEN_ENDS
        } else {
            texts::ACCOUNT_TOKEN_ENDED
        };
        let used = match self.last_used {
            Some(at) => fill(texts::ACCOUNT_TOKEN_USED, &[("when", &when(at))]),
            None => texts::ACCOUNT_TOKEN_UNUSED.into(),
        };
        context! {
            key => &self.key,
            short => self.key.get(..8),
            name => self.name,
            opens => self.opens(&apps.collect::<Vec<_>>()),
            ends => fill(ends, &[("when", &when(self.expires))]),
            used,
        }
    }

    /// Names, paths and networks, which are the same in every language.
    fn opens(&self, apps: &[String]) -> String {
        let apps = if apps.is_empty() {
            texts::ACCOUNT_TOKEN_EVERY_APP.to_owned()
        } else {
            apps.join(", ")
        };
        let lists = [self.paths, &self.methods, &self.networks];
        let lists = lists.into_iter().filter(|list| !list.is_empty());
        let lists = lists.map(|list| list.join(", "));
        let all: Vec<_> = [apps].into_iter().chain(lists).collect();
        all.join("; ")
    }
}
