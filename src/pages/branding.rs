//! The operator's title, logo, colour and footer, made fit for a page.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::regular_file;

const DEFAULT_ACCENT: Colour = Colour([0x17, 0x61, 0x5c]);
const DEFAULT_ICON: &str = include_str!("icon.svg");
const MAX_LOGO: u64 = 256 * 1024;

/// The card of a page in light and in dark, as in style.css.
const LIGHT_CARD: Colour = Colour([0xff, 0xff, 0xff]);
const DARK_CARD: Colour = Colour([0x19, 0x1d, 0x21]);
const BLACK: Colour = Colour([0, 0, 0]);
const WHITE: Colour = Colour([0xff, 0xff, 0xff]);

/// WCAG 2.2, 1.4.3 asks 4.5 of text; a little more, because links also lie on the page's grey.
const READABLE: f64 = 5.0;

/// `[login]` `title`, `logo`, `accent`, `footer`: on all of our own pages.
#[derive(Clone, Debug)]
pub(crate) struct Branding {
    /// Of what belongs to no app, or to several.
    pub(crate) title: String,
    /// An image file: SVG, PNG, JPEG or WebP.
    pub(crate) logo: Option<PathBuf>,
    /// A CSS hex colour, `#rgb` or `#rrggbb`.
    pub(crate) accent: Option<String>,
    pub(crate) footer: Option<String>,
}

/// Why a branding cannot be shown.
#[derive(Debug)]
pub(crate) enum PagesError {
    /// The accent is not `#rgb` or `#rrggbb`.
    Accent(String),
    /// The name ends in none of the known ways, or the content is something else.
    LogoKind(PathBuf),
    LogoRead(PathBuf, io::Error),
    /// More than 256 KiB.
    LogoSize(PathBuf),
}

impl fmt::Display for PagesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accent(text) => write!(
                f,
                "login.accent: `{text}` is no colour; write it as #rgb or #rrggbb"
            ),
            Self::LogoKind(path) => write!(
                f,
                "login.logo: {} is not an SVG, PNG, JPEG or WebP image with the matching ending",
                path.display()
            ),
            Self::LogoRead(path, error) => {
                write!(f, "login.logo: cannot read {}: {error}", path.display())
            }
            Self::LogoSize(path) => write!(
                f,
                "login.logo: {} is larger than 256 KiB; it is shown 48 pixels high",
                path.display()
            ),
        }
    }
}

impl std::error::Error for PagesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::LogoRead(_, error) => Some(error),
            Self::Accent(_) | Self::LogoKind(_) | Self::LogoSize(_) => None,
        }
    }
}

/// The accent and what goes with it, readable whatever accent was chosen.
pub(super) struct Colours {
    accent: Colour,
    on_accent: Colour,
    link_light: Colour,
    link_dark: Colour,
}

pub(super) struct Icon {
    pub(super) file_name: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

impl Branding {
    pub(super) fn colours(&self) -> Result<Colours, PagesError> {
        let accent = match &self.accent {
            Some(text) => Colour::parse(text).ok_or_else(|| PagesError::Accent(text.clone()))?,
            None => DEFAULT_ACCENT,
        };
        let on_accent = if accent.contrast(WHITE) >= accent.contrast(BLACK) {
            WHITE
        } else {
            BLACK
        };
        Ok(Colours {
            accent,
            on_accent,
            link_light: accent.readable_on(LIGHT_CARD, BLACK),
            link_dark: accent.readable_on(DARK_CARD, WHITE),
        })
    }

    /// The logo, or a doorway in the accent where there is none.
    pub(super) fn icon(&self, colours: &Colours) -> Result<Icon, PagesError> {
        match &self.logo {
            Some(path) => read_logo(path),
            None => Ok(Icon {
                file_name: "icon.svg",
                content_type: "image/svg+xml",
                body: DEFAULT_ICON
                    .trim_end()
                    .replace("ACCENT", &colours.accent.to_string())
                    .replace("INK", &colours.on_accent.to_string())
                    .into(),
            }),
        }
    }
}

fn read_logo(path: &Path) -> Result<Icon, PagesError> {
    let unreadable = |error| PagesError::LogoRead(path.to_owned(), error);
    let mut body = Vec::new();
    let file = regular_file::open(path).map_err(unreadable)?;
    file.take(MAX_LOGO + 1)
        .read_to_end(&mut body)
        .map_err(unreadable)?;
    if body.len() as u64 > MAX_LOGO {
        return Err(PagesError::LogoSize(path.to_owned()));
    }
    let ending = path.extension().and_then(|ending| ending.to_str());
    let (file_name, content_type) = match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("svg") if is_svg(&body) => ("logo.svg", "image/svg+xml"),
        Some("png") if body.starts_with(b"\x89PNG\r\n\x1a\n") => ("logo.png", "image/png"),
        Some("jpg" | "jpeg") if body.starts_with(b"\xff\xd8\xff") => ("logo.jpg", "image/jpeg"),
        Some("webp") if body.starts_with(b"RIFF") && body.get(8..12) == Some(b"WEBP") => {
            ("logo.webp", "image/webp")
        }
        _ => return Err(PagesError::LogoKind(path.to_owned())),
    };
    Ok(Icon {
        file_name,
        content_type,
        body: body.into(),
    })
}

fn is_svg(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| {
        let text = text.trim_start_matches('\u{feff}').trim_start();
        text.starts_with('<') && text.contains("<svg")
    })
}

impl Colours {
    /// The custom properties that style.css stands on.
    pub(super) fn css(&self) -> String {
        let Self {
            accent,
            on_accent,
            link_light,
            link_dark,
        } = self;
        format!(
            ":root {{ --accent: {accent}; --on-accent: {on_accent}; --link: {link_light}; }}\n\
             @media (prefers-color-scheme: dark) {{ :root {{ --link: {link_dark}; }} }}\n"
        )
    }
}

/// An sRGB colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Colour([u8; 3]);

impl Colour {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        // `from_str_radix` alone would let a sign through.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let (width, scale) = match digits.len() {
            3 => (1, 17),
            6 => (2, 1),
            _ => return None,
        };
        let mut channels = [0; 3];
        for (at, channel) in channels.iter_mut().enumerate() {
            let part = &digits[at * width..(at + 1) * width];
            *channel = u8::from_str_radix(part, 16).ok()? * scale;
        }
        Some(Self(channels))
    }

    /// WCAG 2.2, "relative luminance".
    fn luminance(self) -> f64 {
        let [r, g, b] = self.0.map(|channel| {
            let channel = f64::from(channel) / 255.0;
            if channel <= 0.04045 {
                channel / 12.92
            } else {
                ((channel + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    /// WCAG 2.2, "contrast ratio": 1 to 21.
    fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance() + 0.05, other.luminance() + 0.05);
        a.max(b) / a.min(b)
    }

    /// This colour, moved towards `far` just until text in it can be read on `ground`.
    fn readable_on(self, ground: Self, far: Self) -> Self {
        (0..=20)
            .map(|step| self.mix(far, step))
            .find(|colour| colour.contrast(ground) >= READABLE)
            .unwrap_or(far)
    }

    /// `parts` twentieths of `other` in it.
    fn mix(self, other: Self, parts: u16) -> Self {
        let mut mixed = self.0;
        for (channel, towards) in mixed.iter_mut().zip(other.0) {
            let sum = u16::from(*channel) * (20 - parts) + u16::from(towards) * parts;
            *channel = u8::try_from(sum / 20).unwrap_or(u8::MAX);
        }
        Self(mixed)
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branding(accent: Option<&str>, logo: Option<PathBuf>) -> Branding {
        Branding {
            title: "the wiki".to_owned(),
            logo,
            accent: accent.map(str::to_owned),
            footer: None,
        }
    }

    #[test]
    fn an_accent_is_three_or_six_hex_digits() {
        for (text, expected) in [
            ("#fff", Some("#ffffff")),
            ("#1A2b3C", Some("#1a2b3c")),
            ("#08f", Some("#0088ff")),
            ("fff", None),
            ("#ffff", None),
            ("#gggggg", None),
            ("#+1+2+3", None),
            ("#fff;}body{display:none", None),
            ("red", None),
            ("#äöü", None),
            ("", None),
        ] {
            let parsed = Colour::parse(text).map(|colour| colour.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
            assert_eq!(
                branding(Some(text), None).colours().is_ok(),
                expected.is_some()
            );
        }
    }

    #[test]
    fn text_is_readable_whatever_the_accent() {
        for text in [
            None,
            Some("#000"),
            Some("#fff"),
            Some("#777"),
            Some("#ff0"),
            Some("#e0115f"),
        ] {
            let colours = branding(text, None).colours().unwrap();
            for (ink, ground) in [
                (colours.on_accent, colours.accent),
                (colours.link_light, LIGHT_CARD),
                (colours.link_light, Colour::parse("#f3f4f6").unwrap()),
                (colours.link_dark, DARK_CARD),
                (colours.link_dark, Colour::parse("#101316").unwrap()),
            ] {
                let contrast = ink.contrast(ground);
                assert!(contrast >= 4.5, "{text:?}: {ink} on {ground}: {contrast}");
            }
        }
    }

    #[test]
    fn the_contrast_of_black_and_white_is_21() {
        assert!((BLACK.contrast(WHITE) - 21.0).abs() < 1e-9);
    }

    #[test]
    fn a_logo_is_what_its_name_says_or_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice();
        for (name, content, expected) in [
            ("a.png", png, Some("image/png")),
            ("a.PNG", png, Some("image/png")),
            ("a.jpeg", b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            ("a.webp", b"RIFF\x10\0\0\0WEBPVP8 ", Some("image/webp")),
            (
                "a.svg",
                b"<?xml version=\"1.0\"?>\n<svg/>",
                Some("image/svg+xml"),
            ),
            ("b.svg", b"<html><script>", None),
            ("b.svg", png, None),
            ("b.png", b"<svg/>", None),
            ("b.gif", b"GIF89a", None),
            ("b", png, None),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            let icon = read_logo(&path).ok().map(|icon| icon.content_type);
            assert_eq!(icon, expected, "{name}");
        }
    }

    #[test]
    fn a_logo_that_is_missing_or_huge_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logo.svg");
        assert!(matches!(read_logo(&path), Err(PagesError::LogoRead(..))));
        std::fs::write(&path, format!("<svg>{}", " ".repeat(256 * 1024))).unwrap();
        assert!(matches!(read_logo(&path), Err(PagesError::LogoSize(_))));
    }
}
