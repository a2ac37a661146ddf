use super::*;

#[test]
fn a_form_that_waits_goes_to_its_own_address_or_away() {
    let pages = pages("the wiki", None);
    let now = Timestamp::from_millis(1_795_458_936_000);
    let waiting = SavedPostView {
        origin: None,
        sends_itself: false,
        id: "id-1",
        action: "/a?x=1&vestibule-form=id-1",
        path: "/a",
        multipart: true,
        size: 2_500,
        saved: now,
    };
    let view = SavedPostsView {
        host: "wiki.example.org",
        csrf: "token-123_AB",
        now: now.plus(Duration::from_mins(3)),
        forms: &[waiting],
    };
    let shown = html(pages.saved_posts(&view));
    for part in [
        "<h1>You were about to send this to the wiki</h1>",
        "<dd>&#x2f;a</dd>",
        "3 KB, may hold files",
        "3 minutes ago",
        r#"<form method="post" enctype="text/plain" action="&#x2f;a?x=1&amp;vestibule-form=id-1">"#,
        r#"<input type="hidden" name="form" value="id-1">"#,
        r#"<input type="hidden" name="action" value="discard">"#,
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert_eq!(shown.matches(r#"value="token-123_AB""#).count(), 2);
    let nothing = html(pages.saved_posts(&SavedPostsView { forms: &[], ..view }));
    assert!(nothing.contains("Nothing is waiting"), "{nothing}");
    assert!(!nothing.contains("<form"), "{nothing}");
}
