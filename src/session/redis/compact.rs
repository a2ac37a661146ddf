//! Rows with their usual phrases written as one byte each: what Redis keeps is in memory, a million
//! times.
//!
//! A row is JSON in UTF-8, and has neither control characters nor the bytes that UTF-8 leaves out:
//! these stand for the phrases. Changing one takes another number for all.

/// The number of these phrases.
pub(super) const PHRASES: u8 = 1;

/// In the order of the bytes that stand for them; none begins another that comes after it.
const TABLE: [&str; 40] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:",
    "Mozilla/5.0 (X11; Linux x86_64; rv:",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:",
    "Mozilla/5.0 (Android ",
    "Mozilla/5.0 (iPhone; CPU iPhone OS ",
    "Mozilla/5.0 (iPad; CPU OS ",
    " like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/",
    ".0.0.0 Safari/537.36",
    ".0.0.0 Mobile Safari/537.36",
    ".0) Gecko/20100101 Firefox/",
    " Mobile/15E148 Safari/604.1",
    " Safari/605.1.15",
    " Edg/",
    "Mobile; rv:",
    "{\"u\":\"",
    "\",\"v\":2,\"i\":[{\"h\":\"",
    "\"},{\"h\":\"",
    "\",\"k\":\"",
    "\"}],\"g\":[\"",
    "\"}],\"m\":\"password",
    "\"}],\"e\":\"",
    "\"],\"m\":\"password",
    "\",\"m\":\"password",
    "\"],\"e\":\"",
    "\",\"p\":[",
    "],\"c\":17",
    "],\"c\":18",
    ",\"l\":17",
    ",\"l\":18",
    ",\"x\":17",
    ",\"x\":18",
    ",\"r\":true",
    ",\"a\":\"",
    "\",\"b\":\"",
];

fn byte(at: usize) -> u8 {
    let at = u8::try_from(at).expect("there are forty");
    if at < 32 { at } else { at - 32 + 0xf8 }
}

fn phrase(byte: u8) -> Option<&'static str> {
    let at = match byte {
        0..32 => byte,
        0xf8.. => byte - 0xf8 + 32,
        _ => return None,
    };
    TABLE.get(usize::from(at)).copied()
}

pub(super) fn pack(row: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(row.len());
    let mut rest = row;
    while let [first, others @ ..] = rest {
        let known = TABLE
            .iter()
            .position(|phrase| rest.starts_with(phrase.as_bytes()));
        if let Some(at) = known {
            packed.push(byte(at));
            rest = &rest[TABLE[at].len()..];
        } else {
            packed.push(*first);
            rest = others;
        }
    }
    packed
}

/// The row; a byte that stands for nothing stays what it is, and no reader of rows takes it.
pub(super) fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(packed.len() * 2);
    for byte in packed {
        match phrase(*byte) {
            Some(phrase) => row.extend_from_slice(phrase.as_bytes()),
            None => row.push(*byte),
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_back_as_it_was() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                      Chrome/140.0.0.0 Safari/537.36";
        for user_agent in [chrome, "", "curl/8.5", "\u{fc}\u{1f980} \\\" \\u0001"] {
            let row = format!(
                "{{\"u\":\"ada\",\"v\":2,\"i\":[{{\"h\":\"wiki.example.org\"}}],\"m\":\"password\",\
                 \"p\":[1,2],\"c\":1795894500992,\"l\":1,\"x\":3,\"a\":\"::1\",\"b\":\"{user_agent}\"}}"
            );
            let packed = pack(row.as_bytes());
            assert_eq!(unpack(&packed), row.as_bytes());
            assert!(
                packed.len() < row.len() / 2 + user_agent.len().min(40),
                "{packed:?}"
            );
        }
    }

    #[test]
    fn each_phrase_has_a_byte_that_no_row_has() {
        for (at, phrase) in TABLE.iter().enumerate() {
            let byte = byte(at);
            assert_eq!(super::phrase(byte), Some(*phrase));
            assert_eq!(pack(phrase.as_bytes()), [byte], "{phrase}");
            assert!(std::str::from_utf8(&[b'a', byte]).is_err() || byte < 0x20);
        }
        assert_eq!(unpack(&[0xc0, 0xf7, b'a']), [0xc0, 0xf7, b'a']);
    }
}
