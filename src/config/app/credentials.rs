//! `tokens`, `token_header` and `basic` of `[[app]]`.

use super::headers;
use crate::config::section::Section;
use crate::config::value;
use crate::identity;
use crate::proxy::CredentialSettings;
use crate::source_text::Fault;

/// `identity` are the headers of `[app.identity]`.
pub(super) fn read(section: &mut Section<'_>, identity: &identity::Headers) -> CredentialSettings {
    let tokens = section.get("tokens", value::boolean).unwrap_or(false);
    let token_header = section.get("token_header", |value| {
        headers::for_tokens(value::text(value)?, identity)
    });
    if token_header.is_some() && !tokens {
        let fault = Fault::new("the app takes no tokens");
        section.refuse(
            "token_header",
            fault.help("write tokens = true, or leave this out"),
        );
    }
    CredentialSettings {
        tokens,
        token_header,
        basic: section.get("basic", value::boolean).unwrap_or(false),
    }
}
