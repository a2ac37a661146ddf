use super::*;

#[test]
fn methods_are_read_back_by_name_and_unknown_ones_stay_as_they_are() {
    for (text, methods) in [
        ("password", vec![Method::Password]),
        ("new password", vec![Method::NewPassword]),
        ("Password", vec![Method::Unknown("Password".into())]),
        ("", vec![Method::Unknown("".into())]),
        ("password+totp", vec![Method::Password, Method::Totp]),
        (
            "password+pigeon",
            vec![Method::Password, Method::Unknown("pigeon".into())],
        ),
    ] {
        let read = Methods::parse(text);
        assert_eq!(*read.0, *methods, "{text}");
        assert_eq!(read.names(), text);
    }
    let one = Methods::from(Method::Password);
    assert_eq!(one.clone().and(Method::Password), one);
    assert_eq!(one.and(Method::Totp).names(), "password+totp");
}

#[test]
fn two_factors_are_of_different_kinds() {
    for (methods, expected) in [
        ("password", false),
        ("new password", false),
        ("password+new password", false),
        ("totp", false),
        ("totp+recovery code", false),
        ("password+pigeon", false),
        ("password+totp", true),
        ("new password+totp", true),
        ("recovery code+password", true),
        ("passkey", true),
        ("passkey+password", true),
        ("API token", false),
        ("API token+password", false),
        ("API token+totp", false),
    ] {
        assert_eq!(
            Methods::parse(methods).are_two_factors(),
            expected,
            "{methods}"
        );
    }
}

#[test]
fn methods_have_the_names_of_rfc_8176() {
    for (methods, expected) in [
        ("password", &["pwd"][..]),
        ("password+new password", &["pwd"]),
        ("password+totp", &["pwd", "otp", "mfa"]),
        ("new password+recovery code", &["pwd", "otp", "mfa"]),
        ("passkey", &["pop", "mfa"]),
        ("API token", &[]),
        ("pigeon", &[]),
    ] {
        assert_eq!(Methods::parse(methods).references(), expected, "{methods}");
    }
}

#[test]
fn a_fingerprint_tells_one_stored_hash_from_another() {
    let of = CredentialFingerprint::of;
    assert_eq!(of("hash"), of("hash"));
    assert_ne!(of("hash"), of("Hash"));
}
