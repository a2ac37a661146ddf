use super::*;

fn parse(text: &str) -> Result<Template<About>, TemplateError> {
    Template::parse(text, About::of)
}

fn headers(templates: &[(&str, &str)]) -> Headers {
    Headers::new(
        templates
            .iter()
            .map(|(name, template)| (name.parse().unwrap(), parse(template).unwrap()))
            .collect(),
    )
}

#[test]
fn templates_say_who_somebody_is() {
    let key = "0123abcd";
    let groups = vec!["staff".to_owned(), "Domain Users".to_owned()];
    let ada = Identity::new("ada".to_owned(), groups, None);
    for (template, expected) in [
        ("{user}", Some("ada".to_owned())),
        ("{groups}", Some("staff,Domain%20Users".to_owned())),
        ("{email}", None),
        ("user={user}; mail={email}", None),
        (
            "user={user}; session={session}",
            Some(format!("user=ada; session={key}")),
        ),
        ("fixed", Some("fixed".to_owned())),
    ] {
        let value = parse(template).unwrap().render(&ada, Some(&key));
        assert_eq!(
            value.map(|v| v.to_str().unwrap().to_owned()),
            expected,
            "{template}"
        );
    }
    let nobody = Identity::new("bob".to_owned(), vec![], None);
    assert_eq!(parse("{groups}").unwrap().render(&nobody, Some(&key)), None);
    let session = parse("{session}").unwrap();
    assert_eq!(session.render(&ada, None), None, "a program has none");
}

#[test]
fn templates_that_make_no_sense_are_refused() {
    for (template, expected) in [
        ("{user", TemplateError::Brace),
        ("user}", TemplateError::Brace),
        ("{name}", TemplateError::UnknownName("name".to_owned())),
        ("{}", TemplateError::UnknownName(String::new())),
        ("a\nb", TemplateError::NotAscii),
        ("é", TemplateError::NotAscii),
    ] {
        assert_eq!(parse(template), Err(expected), "{template}");
    }
}

#[test]
fn sec_36_whatever_folds_to_a_name_of_ours_is_taken_out() {
    let ours = headers(&[
        ("X-Forwarded-User", "{user}"),
        ("Remote-Groups", "{groups}"),
    ]);
    for (name, kept) in [
        ("X-Forwarded-User", false),
        ("x_forwarded_user", false),
        ("X.Forwarded.User", false),
        ("X~Forwarded-User", false),
        ("Remote-Groups", false),
        ("remote_groups", false),
        ("X-Forwarded-For", false),
        ("X_Forwarded_Host", false),
        ("X-Forwarded-Anything", false),
        ("X-Real-IP", false),
        ("X-Request-ID", false),
        ("x_request_id", false),
        ("Forwarded", false),
        ("X-Original-URL", false),
        ("X-Session-Data", false),
        ("x_session_data", false),
        ("X-Vestibule-Token", false),
        ("X_Vestibule_Token", false),
        ("x.vestibule.token", false),
        ("X-Vestibule", true),
        ("X-Requested-With", true),
        ("X-Forwarded", true),
        ("XForwardedUser", true),
        ("X-CSRF-Token", true),
        ("X-HTTP-Method-Override", true),
        ("Accept", true),
    ] {
        let mut map = HeaderMap::new();
        map.insert(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_static("evil"),
        );
        ours.strip(&mut map);
        assert_eq!(!map.is_empty(), kept, "{name}");
    }
}

#[test]
fn sec_36_a_name_that_folds_to_one_of_ours_is_a_disguise_and_ours_is_none() {
    let plain = headers(&[
        ("X-Forwarded-User", "{user}"),
        ("Remote-Groups", "{groups}"),
    ]);
    let with_methods = plain.clone().strip_overrides(true);
    for (name, expected, with_rules) in [
        ("X-Forwarded-User", false, false),
        ("x_forwarded_user", true, true),
        ("X.Forwarded-User", true, true),
        ("Remote~Groups", true, true),
        ("X-Forwarded-For", false, false),
        ("X_Forwarded_For", false, false),
        ("X-HTTP-Method-Override", false, true),
        ("x_http_method", false, true),
        ("Cookie", false, false),
    ] {
        let mut map = HeaderMap::new();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.insert(&name, HeaderValue::from_static("evil"));
        assert_eq!(plain.are_disguised_in(&map), expected, "{name}");
        assert_eq!(with_methods.are_disguised_in(&map), with_rules, "{name}");
    }
}

#[test]
fn sec_33_a_method_override_is_taken_out_where_rules_name_methods() {
    let ours = headers(&[]).strip_overrides(true);
    for name in [
        "X-HTTP-Method-Override",
        "x_http_method",
        "X-Method-Override",
    ] {
        let mut map = HeaderMap::new();
        map.insert(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_static("PUT"),
        );
        ours.strip(&mut map);
        assert!(map.is_empty(), "{name}");
    }
}

#[test]
fn sec_40_only_visible_ascii_is_injected() {
    let mut out = String::new();
    encode(&mut out, "a b%é\r\nX: y,");
    assert_eq!(out, "a%20b%25%C3%A9%0D%0AX:%20y,");
}
