//! The letters of header names in HTTP/1.1.

/// Writes a header name as people do, `Content-Length`, in place. Names have no case (RFC 9110
/// §5.1), but there are servers and clients that compare their bytes.
pub(crate) fn title_case(name: &mut [u8]) {
    name.make_ascii_lowercase();
    capitalize(name);
}

/// The same of a name in small letters, as a [`http::HeaderName`] has it. It is done for every field
/// of every message, so most bytes are only looked at.
pub(crate) fn capitalize(name: &mut [u8]) {
    if let Some(first) = name.first_mut() {
        first.make_ascii_uppercase();
    }
    for at in 1..name.len() {
        if name[at - 1] == b'-' {
            name[at].make_ascii_uppercase();
        }
    }
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
