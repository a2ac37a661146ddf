//! Our HTML.

use std::path::PathBuf;

/// `[login]` `title`, `logo`, `accent`, `footer`: on every page of ours.
#[derive(Clone, Debug)]
pub(crate) struct Branding {
    pub(crate) title: String,
    /// An image file: SVG, PNG, JPEG or WebP.
    pub(crate) logo: Option<PathBuf>,
    /// A CSS hex colour, `#rgb` or `#rrggbb`.
    pub(crate) accent: Option<String>,
    pub(crate) footer: Option<String>,
}
