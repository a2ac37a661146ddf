//! Times in certificates, in both notations.

use super::der::any_element;
use crate::clock::Timestamp;

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Both kinds end with seconds and `Z` (RFC 5280 §4.1.2.5); before 1970 is long ago.
pub(super) fn time(der: &[u8]) -> Option<Timestamp> {
    let (tag, (text, _)) = (*der.first()?, any_element(der)?);
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match (tag, text.len()) {
        (UTC_TIME, 12) => {
            let year: u64 = text[..2].parse().ok()?;
            (
                if year < 50 { 2000 + year } else { 1900 + year },
                &text[2..],
            )
        }
        (GENERALIZED_TIME, 14) => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let mut parts = [0_u64; 5];
    for (part, digits) in parts.iter_mut().zip(rest.as_bytes().chunks(2)) {
        *part = digits
            .iter()
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    }
    let [month, day, hour, minute, second] = parts;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Timestamp::from_millis(seconds * 1000))
}

/// Days from 1970-01-01; zero before.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Years that begin in March, so that a leap day is the last day of its year.
    let year = if month < 3 {
        year.saturating_sub(1)
    } else {
        year
    };
    let month = (month + 9) % 12;
    let day = (153 * month + 2) / 5 + day - 1;
    let since_year_0 = year * 365 + year / 4 - year / 100 + year / 400 + day;
    since_year_0.saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use rcgen::{CertificateParams, KeyPair};

    use super::super::x509;
    use super::*;

    fn certificate(not_after: SystemTime) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["gate.test".to_owned()]).unwrap();
        params.not_before = UNIX_EPOCH.into();
        params.not_after = not_after.into();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn not_after(certificate: &[u8]) -> Option<Timestamp> {
        Some(x509::Details::read(certificate)?.not_after)
    }

    #[test]
    fn rel_16_the_end_of_a_certificate_is_read_in_both_notations() {
        for seconds in [
            0,
            951_782_399,     // 2000-02-28, a leap year
            951_868_799,     // 2000-02-29
            1_798_761_600,   // 2027-01-01
            2_524_607_999,   // 2049-12-31, the last of UTCTime
            2_524_608_000,   // 2050-01-01, the first of GeneralizedTime
            4_107_542_400,   // 2100-03-01, no leap year
            253_402_300_799, // 9999-12-31, which stands for no end
        ] {
            let certificate = certificate(UNIX_EPOCH + Duration::from_secs(seconds));
            let expected = Some(Timestamp::from_millis(seconds * 1000));
            assert_eq!(not_after(&certificate), expected, "{seconds}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_counted() {
        let lengths = |year: u64| {
            let leap =
                year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
            [
                31,
                if leap { 29 } else { 28 },
                31,
                30,
                31,
                30,
                31,
                31,
                30,
                31,
                30,
                31,
            ]
        };
        let mut expected = 0;
        for year in 1970..2371 {
            for (month, length) in (1..).zip(lengths(year)) {
                for day in 1..=length {
                    assert_eq!(days(year, month, day), expected, "{year}-{month}-{day}");
                    expected += 1;
                }
            }
        }
        assert_eq!(days(1969, 12, 31), 0);
        assert_eq!(days(0, 1, 1), 0);
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let certificate = certificate(UNIX_EPOCH + Duration::from_hours(24));
        for end in 0..certificate.len() {
            let cut = not_after(&certificate[..end]);
            assert_eq!(cut, None, "{end} bytes of {}", certificate.len());
        }
        // Whatever a byte is changed to, it is an answer and no panic.
        for at in 0..certificate.len() {
            for byte in [0, 1, 0x30, 0x7f, 0x80, 0x83, 0x84, 0xff] {
                let mut changed = certificate.clone();
                changed[at] = byte;
                let _ = not_after(&changed);
            }
        }
        for time_text in [
            "991301000000Z",
            "990132000000Z",
            "990101240000Z",
            "9901010000Z",
            "99010100000xZ",
            "9901010000000",
        ] {
            let mut der = vec![UTC_TIME, u8::try_from(time_text.len()).unwrap()];
            der.extend(time_text.bytes());
            assert_eq!(time(&der), None, "{time_text}");
        }
    }
}
