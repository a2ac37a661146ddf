//! What is wrong with a request that can be parsed.

/// What is wrong with a request before anybody asks who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRequest {
    /// More than [`Limits::cookie`] bytes of cookies.
    CookieTooLarge,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// A field whose value two parsers might read in two ways.
    Field,
    /// No Host, several, or one that is no host.
    Host,
    /// The target names another host than `Host` does.
    HostMismatch,
    /// A method that is not let in.
    Method,
    /// A path or query that two parsers might read in two ways.
    Target,
    /// More than [`Limits::target`] bytes of target.
    TargetTooLong,
    /// More than [`Limits::fields`] header fields.
    TooManyFields,
}
