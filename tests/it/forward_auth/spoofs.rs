//! What somebody may send who wants to open more than they may.

#[path = "../../../src/forwarded/names.rs"]
mod names;

/// Every name by which somebody says from whom or for what a request is, as far as no app is to have it
/// from a client.
pub(crate) fn forwarding() -> impl Iterator<Item = &'static str> {
    names::OF_PROXIES.into_iter().map(|(name, _)| name)
}

/// Those that go on to apps, too: no verdict changes by any of them.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    forwarding().chain(names::OF_APPS.into_iter().map(|(name, _)| name))
}

/// What would open more than the request itself, for whoever believed it.
pub(crate) fn forged(name: &str) -> &'static str {
    match name.to_ascii_lowercase().replace(['_', '.'], "-").as_str() {
        "forwarded" => "for=127.0.0.1;host=public.test;proto=https",
        name if name.contains("method") => "OPTIONS",
        name if name.contains("host") || name.ends_with("server") => "public.test",
        name if name.ends_with("ssl") => "off",
        name if name.contains("proto") || name.ends_with("scheme") => "http",
        name if name.ends_with("port") => "1",
        name if name.contains("-ip") || name.ends_with("for") || name.ends_with("address") => {
            "127.0.0.1"
        }
        _ => "/public",
    }
}

/// Spellings of a path below `/admin`, and others that lead there in some reading; none is for bob.
pub(crate) const SPELLINGS: [&str; 42] = [
    "/admin",
    "/admin/",
    "/admin/x",
    "/admin/x?y=/public",
    "/admin?/../public",
    "/admin;a=b",
    "/admin;/x",
    "/%61dmin",
    "/%61%64%6d%69%6e/x",
    "/adm%69n/x",
    "/public/../admin",
    "/public/..;/admin",
    "/public/%2e%2e/admin",
    "/public/.%2e/admin",
    "/public/%2E./admin",
    "/public/..%2fadmin",
    "/public/%2e%2e%2fadmin",
    "/public%2f..%2fadmin",
    "/public/..%5cadmin",
    "/public\\..\\admin",
    "/public/%252e%252e/admin",
    "/public/%c0%ae%c0%ae/admin",
    "/./admin",
    "/.;/admin",
    "//admin",
    "///admin/x",
    "/public//../admin",
    "//public/../admin",
    "/admin%2fx",
    "/admin%5cx",
    "/admin%00",
    "/admin%00.png",
    "/admin%0a",
    "/admin%20/",
    "/admin./x",
    "/admin%",
    "/admin%zz",
    "/admin/%25",
    "/\u{e4}/../admin",
    "/admin/%ff",
    "/public/..%00/admin",
    "http://gate.test/admin",
];
