//! Where our own addresses are, on the host of every app.

/// The folder of our addresses, `own_path!()`, or one of them: `own_path!("login")`. A macro, so
/// that both are constants.
macro_rules! own_path {
    () => {
        "/.vestibule"
    };
    ($below:literal) => {
        concat!("/.vestibule/", $below)
    };
}

pub(crate) use own_path;
