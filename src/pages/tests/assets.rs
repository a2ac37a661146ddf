use super::*;

#[test]
fn an_asset_is_found_by_its_name_only() {
    let pages = pages("the wiki", None);
    for name in ["style.css", "login.js", "icon.svg", "waiting.js"] {
        let asset = pages.asset(name).unwrap();
        assert_eq!(asset.headers()["cache-control"], "public, max-age=3600");
    }
    for name in [
        "",
        "style.css?v=1",
        "../style.css",
        "logo.svg",
        "login.html",
    ] {
        assert!(pages.asset(name).is_none(), "{name}");
    }
}

#[test]
fn the_address_of_an_asset_changes_with_its_content() {
    let style = |accent: &str| {
        let branding = Branding {
            title: "the wiki".to_owned(),
            logo: None,
            accent: Some(accent.to_owned()),
            footer: None,
        };
        let html = html(
            Pages::new(&branding, Duration::ZERO)
                .unwrap()
                .signed_out("wiki", &[]),
        );
        let at = html.find("style.css?v=").unwrap();
        html[at..at + 20].to_owned()
    };
    assert_ne!(style("#123456"), style("#654321"));
    assert_eq!(style("#123456"), style("#123456"));
}
