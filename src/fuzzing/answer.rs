//! The heads of answers whose invalid lines are dropped.

use crate::upstream::filter_answer;

/// It does not matter how an answer is cut into reads; what passes is what came without whole lines,
/// none of which has a name that must not be dropped; and there is nothing left to drop.
pub fn answer_head(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else {
        return;
    };
    let whole = filter_answer(bytes.chunks(bytes.len().max(1)));
    let pieces = filter_answer(bytes.chunks(usize::from(step % 16) + 1));
    assert_eq!(whole, pieces, "whole and in pieces");
    let Ok((passed, has_dropped)) = whole else {
        return;
    };
    let again = filter_answer([&*passed].into_iter());
    assert_eq!(again, Ok((passed.clone(), false)), "twice");
    let mut rest = passed.split_inclusive(|byte| *byte == b'\n').peekable();
    let mut dropped = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if rest.next_if_eq(&line).is_none() && line.ends_with(b"\n") {
            dropped += 1;
            assert!(!is_framing_or_cookie(line), "{}", line.escape_ascii());
        }
    }
    assert_eq!(rest.next(), None, "something that did not come");
    assert_eq!(dropped > 0, has_dropped);
}

fn is_framing_or_cookie(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or(line);
    let name: Vec<_> = name
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .map(u8::to_ascii_lowercase)
        .collect();
    matches!(
        &*name,
        b"contentlength" | b"transferencoding" | b"connection" | b"setcookie"
    )
}
