//! Forms that another site may have sent.

/// Why a form is taken for a forged one (SEC-54).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgery {
    /// The browser says that another site sent it.
    OtherSite,
    /// The browser says that the form is ours, but `Origin` and `Host` name different hosts: a proxy
    /// in front has changed one of them.
    HostChanged,
    /// The browser hides where it comes from, `Origin: null`, and does not say that it is from here.
    OriginHidden,
    /// The browser does not say where it comes from, and sent no cookie that its token could fit.
    NoCookie,
    /// The browser does not say where it comes from, and the token does not fit the cookie.
    Outdated,
}
