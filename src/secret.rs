//! Values that must not leave the process by way of a log line.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes or text that are shown to nobody: `Debug` prints nothing of them, there is no `Display`,
/// comparison takes the same time whatever differs, and the memory is wiped at the end.
#[derive(Clone)]
pub(crate) struct Secret<T: zeroize::Zeroize>(Zeroizing<T>);

impl<T: zeroize::Zeroize> Secret<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself. Every caller is a place to review.
    pub(crate) fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: zeroize::Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<T: zeroize::Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().ct_eq(other.0.as_ref()).into()
    }
}

impl<T: zeroize::Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing_when_printed() {
        let secret = Secret::new(String::from("correct horse"));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert!(secret == Secret::new(String::from("correct horse")));
        assert!(secret != Secret::new(String::from("correct horsf")));
    }
}
