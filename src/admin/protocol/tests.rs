use super::*;

#[test]
fn a_request_is_taken_only_as_it_is_defined() {
    let key = Request::SessionRevoke {
        key: "0123abcd".to_owned(),
    };
    for (text, request) in [
        (
            r#"{"command":"session-list","after":null}"#,
            Some(Request::SessionList { after: None }),
        ),
        (
            r#"{"command":"session-revoke","key":"0123abcd"}"#,
            Some(key),
        ),
        (r#"{"command":"status"}"#, Some(Request::Status {})),
        (
            r#"{"command":"app-resume","app":"wiki"}"#,
            Some(Request::AppResume {
                app: "wiki".to_owned(),
            }),
        ),
        (r#"{"command":"app-resume"}"#, None),
        (r#"{"command":"app-pause","app":"wiki","for":"1h"}"#, None),
        (r#"{"command":"reload"}"#, Some(Request::Reload {})),
        (r#"{"command":"reload","path":"/x"}"#, None),
        (r#"{"command":"status","all":true}"#, None),
        (r#"{"command":"session-revoke-all","user":"ada"}"#, None),
        (r#"{"command":"session-revoke"}"#, None),
        (r#"{"command":"session-revoke","key":1}"#, None),
        (r#"{"command":"session-revoke","key":"a","key":"b"}"#, None),
        (r#"{"command":"shutdown"}"#, None),
        (r#"{"command":"status"}{"command":"status"}"#, None),
        ("[]", None),
        ("status", None),
        ("", None),
    ] {
        assert_eq!(serde_json::from_str(text).ok(), request, "{text}");
    }
}
