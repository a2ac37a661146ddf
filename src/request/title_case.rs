//! The letters of header names in HTTP/1.1.

/// Writes a header name as people do, `Content-Length`, in place. Names have no case (RFC 9110
/// §5.1), but there are servers and clients that compare their bytes.
///
/// The same as hyper's, which writes almost all names.
pub(crate) fn title_case(name: &mut [u8]) {
    let mut begins = true;
    for byte in name {
        if begins {
            byte.make_ascii_uppercase();
        } else {
            byte.make_ascii_lowercase();
        }
        begins = *byte == b'-';
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
        ] {
            let mut bytes = name.as_bytes().to_vec();
            title_case(&mut bytes);
            assert_eq!(bytes, expected.as_bytes(), "{name}");
        }
    }
}
