//! Every sentence and label on our pages, by its key. `docs/errors.md` lists them.
//!
//! Templates show them by `say("KEY")`. Words in braces are filled in; `{title}` is the operator's.

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind, HtmlEscape};

macro_rules! texts {
    ($($key:ident = $text:literal;)*) => {
        $(pub(crate) const $key: &str = $text;)*
        const ALL: &[(&str, &str)] = &[$((stringify!($key), $key)),*];
    };
}

texts! {
    // The account page.
    ACCOUNT_ALREADY_ENDED = "That session has ended already.";
    ACCOUNT_BACK = "Back to {title}";
    ACCOUNT_BUSY = "Too many people are signing in right now. Try again soon.";
    ACCOUNT_CHANGE_PASSWORD = "Change password";
    ACCOUNT_CHANGING = "Changing…";
    ACCOUNT_CURRENT_PASSWORD = "Current password";
    ACCOUNT_EMAIL = "E-mail";
    ACCOUNT_END_OTHERS = "End all other sessions";
    ACCOUNT_END_SESSION = "End this session";
    ACCOUNT_GROUPS = "Groups";
    ACCOUNT_HEADING = "Your account";
    ACCOUNT_LAST_ACTIVE = "last active {when}";
    ACCOUNT_LATEST_END = "ends at the latest {when}";
    ACCOUNT_METHOD = "Signed in with";
    ACCOUNT_NEW_PASSWORD = "New password";
    ACCOUNT_NEW_PASSWORD_AGAIN = "New password again";
    ACCOUNT_NONE = "none";
    ACCOUNT_PASSWORD_CHANGED = "Your password has been changed, and all your other sessions have ended.";
    ACCOUNT_PASSWORD_COMMON = "The new password is one of those that are tried first. Choose another.";
    ACCOUNT_PASSWORD_ENDS_SESSIONS = "All your other sessions end with the old password.";
    ACCOUNT_PASSWORD_HEADING = "Change your password";
    ACCOUNT_PASSWORD_HINT = "At least {characters} characters. A few words in a row are long and easy to remember.";
    ACCOUNT_PASSWORD_IS_NAME = "The new password is your user name. Choose another.";
    ACCOUNT_PASSWORD_NOT_SAVED = "The new password could not be saved, so the old one stays. The people who run {title} can set one for you, and fix this.";
    ACCOUNT_PASSWORD_OVERTAKEN = "Somebody else has just changed your account, so your password was not changed now. Sign in again.";
    ACCOUNT_PASSWORD_SAME = "The new password is the old one. Choose another.";
    ACCOUNT_PASSWORD_TOO_LONG = "The new password is longer than {bytes} bytes.";
    ACCOUNT_PASSWORD_TOO_SHORT = "The new password needs at least {characters} characters.";
    ACCOUNT_PASSWORD_WRONG = "The current password is not right.";
    ACCOUNT_PASSWORDS_DIFFER = "The two new passwords are not the same.";
    ACCOUNT_SESSION = "Address {client}, session {session}";
    ACCOUNT_SESSIONS = "Where you are signed in";
    ACCOUNT_SIGNED_IN = "Signed in {when}";
    ACCOUNT_THIS_BROWSER = "This browser";
    ACCOUNT_THROTTLED = "Too many wrong passwords. Try again in {wait}.";
    ACCOUNT_TOKEN_APPS = "Apps";
    ACCOUNT_TOKEN_DAYS = "Good for";
    ACCOUNT_TOKEN_ENDED = "ended {when}";
    ACCOUNT_TOKEN_ENDS = "ends {when}";
    ACCOUNT_TOKEN_EVERY_APP = "every app";
    ACCOUNT_TOKEN_LIMITS = "No token can have these limits. Write fewer paths and networks.";
    ACCOUNT_TOKEN_MADE = "Copy the token “{name}” now: nobody can show it again.";
    ACCOUNT_TOKEN_MAKE = "Make a token";
    ACCOUNT_TOKEN_METHODS = "It may";
    ACCOUNT_TOKEN_NAME = "The name of a token has 1 to 64 characters.";
    ACCOUNT_TOKEN_NAME_LABEL = "What is it for?";
    ACCOUNT_TOKEN_NEW = "A new token";
    ACCOUNT_TOKEN_NETWORK = "That is no network. Write 192.0.2.7 or 10.0.0.0/8.";
    ACCOUNT_TOKEN_NETWORKS = "Only from these networks (optional)";
    ACCOUNT_TOKEN_NO_APP = "Choose at least one app.";
    ACCOUNT_TOKEN_NOT_SAVED = "The token could not be saved. Try again later.";
    ACCOUNT_TOKEN_PATH = "That is no path. Write /api for everything below it, without a question mark.";
    ACCOUNT_TOKEN_PATHS = "Only below these paths, as /api (optional)";
    ACCOUNT_TOKEN_READS = "only read";
    ACCOUNT_TOKEN_READS_AND_WRITES = "read and write";
    ACCOUNT_TOKEN_REVOKE = "Revoke";
    ACCOUNT_TOKEN_SO_MANY_DAYS = "{days} days";
    ACCOUNT_TOKEN_UNUSED = "Never used";
    ACCOUNT_TOKEN_USED = "Last used {when}";
    ACCOUNT_TOKENS = "API tokens";
    ACCOUNT_TOKENS_ARE = "A program uses a token in place of your password.";
    ACCOUNT_TOKENS_TOO_MANY = "There are too many tokens. Revoke those that you do not use.";
    ACCOUNT_TITLE = "Your account, {title}";
    ACCOUNT_UNAVAILABLE = "Passwords cannot be checked right now. Nothing has changed. Try again soon.";

    // Forms of other sites that wait for a click.
    CROSS_SITE_POST_HEADING = "Send this to {title}?";
    CROSS_SITE_POST_LEAVE = "Do not send it";
    CROSS_SITE_POST_QUESTION = "Another site wants to send a form in your name. If you have just come from there, send it; otherwise do not. It is discarded after 15 minutes.";

    // A page for an error; `pages/messages.rs` has what happened and what to do.
    ERROR_HELP = "The people who run {title} can help.";
    ERROR_HELP_FORBIDDEN = "The people who run {title} can change what your account may open.";
    ERROR_HELP_SERVER = "The people who run {title} can fix it if it lasts.";
    ERROR_NUMBER = "Error {status}";
    ERROR_PAGE_NOT_SHOWN = "This page cannot be shown.";
    ERROR_REQUEST_ID = "They will ask for this request id:";
    ERROR_SIGN_IN = "Sign in";
    ERROR_START_PAGE = "Start page";

    // What frames of other pages show.
    FRAME_CROSS_SITE = "This frame is part of a page of another site, and browsers do not send your session there. Open {title} in a tab of its own.";
    FRAME_CROSS_SITE_HEADING = "{title} cannot work in this frame";
    FRAME_NOT_DELIVERED = "Your session has ended. Go back and copy what you typed before you sign in in a new tab.";
    FRAME_NOT_DELIVERED_HEADING = "What you sent was not delivered";
    FRAME_OPEN = "Open in a new tab";
    FRAME_OWN_PAGE = "For your safety, it is not shown inside another page.";
    FRAME_OWN_PAGE_HEADING = "Open this page in a new tab";
    FRAME_SAVED = "Your session has ended. What you were sending is kept for {wait}: sign in in a new tab, and you can send it there.";
    FRAME_SESSION_ENDED = "Your session has ended. Sign in in a new tab, then load this page again.";
    FRAME_SIGN_IN = "Sign in in a new tab";
    FRAME_SIGN_IN_HEADING = "Sign in to {title}";

    // The login.
    LOGIN_BUSY = "Too many people are signing in right now. Try again soon.";
    LOGIN_CAPS_LOCK = "Caps Lock is on.";
    LOGIN_CROSS_SITE_POST = "What you were sending is kept for {wait}, and goes on after you have signed in.";
    LOGIN_FORM_FROM_ANOTHER_SITE = "This form was sent from another site. Sign in here.";
    LOGIN_FORM_HOST_CHANGED = "The host name or port in your browser is not the one that arrived here. The people who run this site can fix it: the proxy in front has to pass on the Host header, with its port.";
    LOGIN_FORM_OUTDATED = "This form was open for too long. Sign in again.";
    LOGIN_FORM_WITHOUT_COOKIE = "Your browser sent no cookie with this form. Allow cookies for this site, then sign in again.";
    LOGIN_HEADING = "Sign in to {title}";
    LOGIN_HIDE = "Hide";
    LOGIN_NOT_SAVED = "Your sign-in could not be saved, so you are not signed in. Tell the people who run this site that sessions cannot be written.";
    LOGIN_OPEN_PAGES = "Pages that are still open in other tabs go on once you have signed in here. You need not load them again.";
    LOGIN_PASSWORD = "Password";
    LOGIN_REFUSED = "That user name and password do not match.";
    LOGIN_REMEMBER = "Stay signed in for {wait}";
    LOGIN_SAVED_POST = "Your session has ended. What you were sending is kept for {wait}: sign in, and you can send it.";
    LOGIN_SESSIONS_FULL = "No more people can sign in right now: as many are signed in as this site has room for. Try again later.";
    LOGIN_SHOW = "Show";
    LOGIN_SHOW_PASSWORD = "password";
    LOGIN_SHOW_PASSWORDS = "passwords";
    LOGIN_SIGN_IN = "Sign in";
    LOGIN_SIGNED_IN_AS = "You are signed in as {user}. That session ends when you sign in here.";
    LOGIN_SIGNED_IN_AS_FORBIDDEN = "You are signed in as {user}, who may not open that page. Sign in as somebody else, or ask for access.";
    LOGIN_SIGNING_IN = "Signing in…";
    LOGIN_STAY = "Stay signed in as {user}";
    LOGIN_THROTTLED = "Too many tries. Try again in {wait}.";
    LOGIN_UNAVAILABLE = "Passwords cannot be checked right now, so you are not signed in. Try again soon.";
    LOGIN_USER_NAME = "User name";

    // The logout.
    LOGOUT_DONE = "Your session with {title} has ended. On a shared computer, close the browser too.";
    LOGOUT_DONE_HEADING = "You are signed out";
    LOGOUT_DONE_TITLE = "Signed out of {title}";
    LOGOUT_ENDED_ON = "It has ended on these hosts as well:";
    LOGOUT_ENDS_ON = "It ends on these hosts as well:";
    LOGOUT_HEADING = "Sign out of {title}";
    LOGOUT_SIGN_IN_AGAIN = "Sign in again";
    LOGOUT_SIGN_OUT = "Sign out";
    LOGOUT_SIGNED_IN_AS = "You are signed in as {user}. Signing out ends this session on the server; what is not saved in the app may be lost.";
    LOGOUT_STAY = "Stay signed in";

    // Forms that met an ended session.
    SAVED_POST_DISCARD = "Discard";
    SAVED_POST_FORM = "Form";
    SAVED_POST_FROM = "From";
    SAVED_POST_HEADING = "You were about to send this to {title}";
    SAVED_POST_NONE = "What is kept here can be sent once, and is discarded after 15 minutes.";
    SAVED_POST_NONE_HEADING = "Nothing is waiting to be sent";
    SAVED_POST_NONE_TITLE = "Nothing to send";
    SAVED_POST_NOT_ARRIVED = "Your session had ended, so it has not arrived. Send it now, or discard it.";
    SAVED_POST_NOT_SENT_YET = "It has not arrived yet. Send it now, or discard it.";
    SAVED_POST_NUMBER = "Form {number} of {count}";
    SAVED_POST_PAGE = "Page";
    SAVED_POST_SEND = "Send";
    SAVED_POST_START_PAGE = "Go to {title}";
    SAVED_POST_TITLE = "Send it to {title}?";
    SAVED_POST_TO = "To";
    SAVED_POST_WHEN = "When";
    SAVED_POST_WITH_FILES = "may hold files";
    SAVED_POST_WITH_TEXT = "text";

    // Parts of sentences.
    WORDS_AGO = "{span} ago";
    WORDS_AHEAD = "in {span}";
    WORDS_BROWSER_ON_SYSTEM = "{browser} on {system}";
    WORDS_JUST_NOW = "just now";
    WORDS_UNKNOWN_BROWSER = "An unknown browser";

    // For programs that show people a line of text.
    PROGRAM_NO_CHALLENGE = "There is no such challenge here.";
    PROGRAM_INVALID_TOKEN = "The API token is not valid. It may have expired or been revoked, or be another user's.";
    PROGRAM_PORT_IS_HTTPS = "This port is for https. Put https:// in front of the address.";
    PROGRAM_PROXY_WITHOUT_TLS = "This port is for https, but the proxy in front speaks plain HTTP here.";
    PROGRAM_SIGN_IN = "This address needs a login. Sign in with a web browser: programs have to send its session cookie.";
    PROGRAM_SIGN_IN_CHALLENGE = "basic realm=\"Sign in with a web browser\"";
    PROGRAM_SIGN_IN_BY_PASSWORD = "This address needs a login. Send your user name and password.";
    PROGRAM_SIGN_IN_BY_TOKEN = "This address needs a login. Send your user name and an API token, which your account page makes, as the password.";
    PROGRAM_TOKEN_NOT_TAKEN = "This app takes no API tokens. Sign in with a web browser, or ask the people who run this site to write tokens = true into its [[app]].";
    PROGRAM_WRONG_PASSWORD = "The user name or the password is wrong.";
    PROGRAM_USE_HTTPS = "Plain HTTP is not served here. Put https:// in front of the address.";
}

/// `text` with each `{name}` replaced by its value; not escaped.
pub(in crate::pages) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    replace(text, |part| match part {
        Part::Text(text) => filled.push_str(text),
        Part::Name(name) => {
            let value = values.iter().find(|(known, _)| *known == name);
            filled.push_str(value.map_or("", |(_, value)| value));
        }
    });
    filled
}

/// What templates call `say`: the text of a key, with its values, and escaped (SEC-65). Only a value
/// that is markup of the template goes in as it is.
pub(in crate::pages) fn say(title: &str, key: &str, values: &Kwargs) -> Result<Value, Error> {
    let Some((_, text)) = ALL.iter().find(|(known, _)| *known == key) else {
        return Err(Error::new(ErrorKind::UnknownFunction, key.to_owned()));
    };
    let mut html = String::with_capacity(text.len());
    let mut missing = Ok(());
    replace(text, |part| match part {
        Part::Text(text) => html.push_str(&escaped(text)),
        Part::Name("title") => html.push_str(&escaped(title)),
        Part::Name(name) => match values.get::<Value>(name) {
            Ok(value) if value.is_safe() => html.push_str(&value.to_string()),
            Ok(value) => html.push_str(&escaped(&value.to_string())),
            Err(error) => missing = Err(error),
        },
    });
    missing?;
    values.assert_all_used()?;
    Ok(Value::from_safe_string(html))
}

fn escaped(text: &str) -> String {
    HtmlEscape(text).to_string()
}

enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn replace<'a>(text: &'a str, mut each: impl FnMut(Part<'a>)) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        each(Part::Text(before));
        each(Part::Name(name));
        rest = after;
    }
    each(Part::Text(rest));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::pages::{SCRIPT, TEMPLATES};

    /// A template without its expressions, comments and statements.
    fn markup(template: &str) -> String {
        let mut markup = String::new();
        let mut rest = template;
        while let Some(start) = rest
            .find("{{")
            .into_iter()
            .chain(rest.find("{%"))
            .chain(rest.find("{#"))
            .min()
        {
            let end = match &rest[start..start + 2] {
                "{{" => "}}",
                "{%" => "%}",
                _ => "#}",
            };
            markup.push_str(&rest[..start]);
            rest = &rest[start + rest[start..].find(end).unwrap() + 2..];
        }
        markup + rest
    }

    #[test]
    fn templates_hold_no_words_that_a_visitor_sees() {
        for (name, template) in TEMPLATES {
            for part in markup(template).split('<') {
                let (tag, text) = part.split_once('>').unwrap_or(("", part));
                assert!(!text.contains(char::is_alphabetic), "{name}: {text}");
                for attribute in [
                    "alt",
                    "aria-label",
                    "data-busy",
                    "data-hide",
                    "placeholder",
                    "title",
                ] {
                    let value = tag.split(&format!(" {attribute}=\"")).nth(1);
                    let value = value.and_then(|rest| rest.split('"').next()).unwrap_or("");
                    assert!(
                        !value.contains(char::is_alphabetic),
                        "{name}: {attribute}={value}"
                    );
                }
            }
        }
        let strings = SCRIPT.split('"').skip(1).step_by(2);
        for string in strings {
            assert!(
                !string.contains(char::is_uppercase) || string == "CapsLock",
                "{string}"
            );
        }
    }

    #[test]
    fn each_text_is_shown_somewhere() {
        let sources = [
            include_str!("../../pages.rs"),
            include_str!("../account.rs"),
            include_str!("../account/tokens.rs"),
            include_str!("../forms.rs"),
            include_str!("../framed.rs"),
            include_str!("../login.rs"),
            include_str!("../response.rs"),
            include_str!("../user_agent.rs"),
            include_str!("../humanise.rs"),
            include_str!("../../portal/ask.rs"),
            include_str!("../../proxy/error_response.rs"),
            include_str!("../../server/acme_challenges.rs"),
            include_str!("../../server/redirect.rs"),
        ];
        let templates = TEMPLATES.map(|(_, template)| template);
        let mut shown = BTreeSet::new();
        for source in templates {
            let keys = source.split("say(\"").skip(1);
            shown.extend(keys.map(|rest| rest.split('"').next().unwrap()));
        }
        let account = sources[1]
            .split('"')
            .filter(|part| part.starts_with("ACCOUNT_"));
        shown.extend(account);
        for source in sources {
            let keys = source.split("texts::").skip(1);
            shown.extend(keys.filter_map(|rest| {
                rest.split(|c: char| c != '_' && !c.is_ascii_uppercase())
                    .next()
            }));
        }
        shown.remove("");
        let known: BTreeSet<_> = ALL.iter().map(|(key, _)| *key).collect();
        assert_eq!(shown, known);
        assert_eq!(known.len(), ALL.len());
    }

    #[test]
    fn the_documentation_lists_each_text_as_it_is() {
        let page = include_str!("../../../docs/errors.md");
        let (_, page) = page.split_once("\n## ").unwrap();
        let documented = page.lines().filter(|row| row.starts_with("| `"));
        let documented: Vec<_> = documented.collect();
        let rows = ALL
            .iter()
            .map(|(key, text)| format!("| `{key}` | {text} |"));
        assert_eq!(documented, rows.collect::<Vec<_>>());
    }

    #[test]
    fn sec_65_a_value_is_escaped_unless_a_template_made_it() {
        let user = Value::from("<b>{title}&");
        let said = say(
            "A & B",
            "LOGIN_STAY",
            &[("user", user)].into_iter().collect(),
        );
        assert_eq!(
            said.unwrap().to_string(),
            "Stay signed in as &lt;b&gt;{title}&amp;"
        );
        let user = Value::from_safe_string("<strong>ada</strong>".into());
        let said = say(
            "A & B",
            "LOGIN_STAY",
            &[("user", user)].into_iter().collect(),
        );
        assert_eq!(
            said.unwrap().to_string(),
            "Stay signed in as <strong>ada</strong>"
        );
        let said = say(
            "A & B",
            "LOGIN_HEADING",
            &Kwargs::from_iter::<[(&str, Value); 0]>([]),
        );
        assert_eq!(said.unwrap().to_string(), "Sign in to A &amp; B");
        let values = || Kwargs::from_iter([("other", Value::from(1))]);
        assert!(
            say("", "LOGIN_STAY", &values()).is_err(),
            "a value is missing"
        );
        assert!(
            say("", "LOGIN_SIGN_IN", &values()).is_err(),
            "a value too many"
        );
        assert!(
            say(
                "",
                "LOGIN_UNKNOWN",
                &Kwargs::from_iter::<[(&str, Value); 0]>([])
            )
            .is_err()
        );
    }

    #[test]
    fn a_text_is_filled_once() {
        let values = [("wait", "{title}"), ("title", "the wiki")];
        assert_eq!(fill("{title}: {wait}", &values), "the wiki: {title}");
        assert_eq!(fill("none", &values), "none");
    }
}
