//! Which slot of a cluster a key is in, and which key a command has.

use ::redis::{Arg, Cmd};

pub(super) const SLOTS: u16 = 16384;

/// CRC-16/XMODEM of the hash tag, or of the whole key (Redis Cluster specification, "Hash tags").
pub(super) fn slot(key: &[u8]) -> u16 {
    let mut crc = 0_u16;
    for byte in tag(key) {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    crc % SLOTS
}

/// What stands between the first `{` and the next `}`, unless that is nothing; else the whole key.
pub(super) fn tag(key: &[u8]) -> &[u8] {
    let between = || {
        let begin = key.iter().position(|byte| *byte == b'{')? + 1;
        let length = key[begin..].iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &key[begin..begin + length])
    };
    between().unwrap_or(key)
}

/// The first key of a command; `None` for one that any server can answer.
pub(super) fn key_of(command: &Cmd) -> Option<Vec<u8>> {
    let mut words = command.args_iter().map(|word| match word {
        Arg::Simple(bytes) => bytes,
        _ => b"",
    });
    let name = words.next()?.to_ascii_uppercase();
    let key = match name.as_slice() {
        b"XREAD" => {
            words.find(|word| word.eq_ignore_ascii_case(b"STREAMS"))?;
            words.next()
        }
        b"EVAL" | b"EVALSHA" => words.nth(2),
        _ => words.next(),
    };
    key.map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use ::redis::cmd;

    use super::*;

    #[test]
    fn a_key_is_in_the_slot_that_the_specification_says() {
        // From the specification, and of CLUSTER KEYSLOT.
        for (key, expected) in [
            ("123456789", 0x31c3),
            ("foo", 12182),
            ("{foo}.bar", 12182),
            ("a{foo}{bar}", 12182),
            ("{}foo", slot(b"{}foo")),
            ("vestibule:{3}:s:abc", slot(b"3")),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
        assert_ne!(slot(b"{}foo"), slot(b""), "an empty tag is none");
        assert_eq!(tag(b"a{b"), b"a{b");
    }

    #[test]
    fn a_command_is_sent_where_its_first_key_is() {
        let key = |command: &Cmd| key_of(command).map(|key| String::from_utf8(key).unwrap());
        let of = |name: &str, words: &[&str]| key(cmd(name).arg(words));
        assert_eq!(of("GET", &["a"]).as_deref(), Some("a"));
        let read = ["COUNT", "9", "streams", "a", "b", "0", "0"];
        assert_eq!(of("xread", &read).as_deref(), Some("a"));
        assert_eq!(
            of("EVALSHA", &["hash", "1", "a", "b"]).as_deref(),
            Some("a")
        );
        assert_eq!(of("PING", &[]), None);
        assert_eq!(of("XREAD", &["COUNT", "9"]), None);
    }
}
