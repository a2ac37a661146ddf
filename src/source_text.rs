//! Files that people write: where something stands in them, and what a misspelt word was meant
//! to be.

mod problem;

pub(crate) use problem::{Fault, Problem};

/// Line and column of the byte at `offset`, from one; columns count characters.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let begin = line_start(before);
    let line = before[..begin].matches('\n').count() + 1;
    (line, before[begin..].chars().count() + 1)
}

/// Where the last line of `text` begins.
pub(crate) fn line_start(text: &str) -> usize {
    text.rfind('\n').map_or(0, |newline| newline + 1)
}

/// The known word that `word` was probably meant to be.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(word, name), name))
        .filter(|(likeness, _)| *likeness > 0.5)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_columns_in_characters() {
        for (text, offset, expected) in [
            ("", 0, (1, 1)),
            ("abc", 2, (1, 3)),
            ("a\nb", 2, (2, 1)),
            ("a\r\nb", 3, (2, 1)),
            ("\u{e4}x", 2, (1, 2)),
            ("\u{e4}x", 1, (1, 1)), // inside a character
            ("a\n", 99, (2, 1)),
        ] {
            assert_eq!(position(text, offset), expected, "{text:?} {offset}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_has_a_nearest_word_and_another_word_has_none() {
        let known = ["password", "groups", "email", "disabled"];
        assert_eq!(nearest("emial", known), Some("email"));
        assert_eq!(nearest("group", known), Some("groups"));
        assert_eq!(nearest("x", known), None);
    }
}
