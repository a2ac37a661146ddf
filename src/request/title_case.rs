//! The letters of header names in HTTP/1.1.

/// Writes a header name as people do, `Content-Length`, in place. Names have no case (RFC 9110
/// §5.1), but there are servers and clients that compare their bytes.
///
/// Eight bytes at a time: it is done for every field of every message.
pub(crate) fn title_case(name: &mut [u8]) {
    let mut begins = true;
    let (words, rest) = name.as_chunks_mut();
    for word in words {
        *word = title_case_word(*word, &mut begins);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    rest.copy_from_slice(&title_case_word(last, &mut begins)[..rest.len()]);
}

/// The high bit of each byte.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// `begins` says whether the first byte begins a word, and then, whether what follows does.
fn title_case_word(bytes: [u8; 8], begins: &mut bool) -> [u8; 8] {
    let mut bytes = u64::from_le_bytes(bytes);
    bytes |= among(bytes, b'A', b'Z') >> 2; // 0x20 makes a small letter of a capital
    let hyphens = among(bytes, b'-', b'-');
    let first = (hyphens << 8) | (u64::from(*begins) << 7);
    bytes ^= (among(bytes, b'a', b'z') & first) >> 2;
    *begins = hyphens >> 63 == 1;
    bytes.to_le_bytes()
}

/// The high bit of each byte that is one of these; both are ASCII.
fn among(bytes: u64, from: u8, to: u8) -> u64 {
    let each = |byte: u8| u64::from_ne_bytes([byte; 8]);
    let low = bytes & !HIGH; // so that no sum reaches into the next byte
    (low + each(0x80 - from)) & !(low + each(0x7f - to)) & !bytes & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_begins_with_a_capital() {
        for (name, expected) in [
            ("host", "Host"),
            ("content-LENGTH", "Content-Length"),
            ("x_forwarded-for", "X_forwarded-For"),
            ("x--1a", "X--1a"),
            ("-", "-"),
            ("", ""),
            ("sec-websocket-key", "Sec-Websocket-Key"),
            ("abcdefg-hijklmn-o", "Abcdefg-Hijklmn-O"),
            ("ABCDEFGH-IJKLMNO-", "Abcdefgh-Ijklmno-"),
            ("@a`b[c{d", "@a`b[c{d"),
            ("\u{e4}-\u{e4}bc-x", "\u{e4}-\u{e4}bc-X"),
        ] {
            let mut bytes = name.as_bytes().to_vec();
            title_case(&mut bytes);
            assert_eq!(bytes, expected.as_bytes(), "{name}");
        }
    }

    #[test]
    fn any_byte_is_written_as_one_at_a_time_would_be() {
        for length in 1..=17 {
            for byte in u8::MIN..=u8::MAX {
                for at in 0..length {
                    let mut name = vec![b'x'; length];
                    name[at] = byte;
                    let mut expected = name.clone();
                    let mut begins = true;
                    for byte in &mut expected {
                        *byte = if begins {
                            byte.to_ascii_uppercase()
                        } else {
                            byte.to_ascii_lowercase()
                        };
                        begins = *byte == b'-';
                    }
                    title_case(&mut name);
                    assert_eq!(name, expected, "{byte} at {at} of {length}");
                }
            }
        }
    }
}
