//! `[[app]] allow_in_path`: what is refused in a path unless an app needs it (SEC-29).

/// A way of writing a path that servers read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathForm {
    /// `%2F` within a segment.
    EncodedSlash = 1,
    /// `%25` that hides a dot, a slash, a backslash or a control character: `%252F`.
    EncodedPercent = 2,
    /// A backslash.
    EncodedBackslash = 4,
    /// Control characters, bytes that are not UTF-8, and bytes beyond ASCII that are not escaped.
    AnyBytes = 8,
    /// Empty segments, which are merged otherwise.
    DoubleSlash = 16,
}

/// The forms that an app gets as they came. Each reading of them is judged (SEC-93).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AllowInPath(u8);

impl PathForm {
    pub(crate) const ALL: [Self; 5] = [
        Self::EncodedSlash,
        Self::EncodedPercent,
        Self::EncodedBackslash,
        Self::AnyBytes,
        Self::DoubleSlash,
    ];
}

impl AllowInPath {
    #[must_use]
    pub(crate) fn with(self, form: PathForm) -> Self {
        Self(self.0 | form as u8)
    }

    pub(crate) fn has(self, form: PathForm) -> bool {
        self.0 & form as u8 != 0
    }

    /// What either of them has.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// For what may be meant for any app.
    pub(crate) fn everything() -> Self {
        PathForm::ALL.into_iter().collect()
    }
}

impl FromIterator<PathForm> for AllowInPath {
    fn from_iter<I: IntoIterator<Item = PathForm>>(forms: I) -> Self {
        forms.into_iter().fold(Self::default(), Self::with)
    }
}
