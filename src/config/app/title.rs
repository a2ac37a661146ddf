//! `[[app]] title`: what visitors sign in to.

use toml::de::DeValue;

use crate::config::value;
use crate::proxy::AppSettings;
use crate::source_text::Fault;

/// It is part of headings and of the titles of tabs.
const LONGEST: usize = 64;

/// A short text that can be seen: nothing in it turns the direction of what stands around it, or
/// makes one name look like another.
pub(super) fn title(value: &DeValue<'_>) -> Result<String, Fault> {
    let title = value::text(value)?;
    if title.trim() != title {
        return Err(Fault::new("the title begins or ends with a space").help("leave it out"));
    }
    if title.chars().any(is_unseen) {
        return Err(Fault::new("a character of the title cannot be seen")
            .help("write the title anew, without what was copied along with it"));
    }
    let length = title.chars().count();
    if length > LONGEST {
        return Err(Fault::new(format!("the title has {length} characters"))
            .help(format!("{LONGEST} are the most")));
    }
    Ok(title.to_owned())
}

/// An app without a title of its own has that of the login, or else its name.
pub(in crate::config) fn complete(apps: &mut [AppSettings], of_login: Option<&str>) {
    for app in apps {
        let name = of_login.unwrap_or(&app.name);
        app.title.get_or_insert_with(|| name.to_owned());
    }
}

/// Format characters, and spaces that break the line (Unicode, categories Cf, Zl and Zp).
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
