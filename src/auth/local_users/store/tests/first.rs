//! The first users.

use super::*;
use crate::auth::users_file;

#[tokio::test]
async fn a_users_file_is_taken_over_once() {
    let server = server!();
    let (folder, first) = file("[user.ada\n");
    let missing = folder.path().join("none.toml");
    let node = Node::start(server.settings(), Some(&first)).await;
    let without = Node::start(server.settings(), Some(&missing)).await;
    assert_eq!((node.user("ada"), without.user("ada")), (None, None));
    let text = format!(
        "[user.Ada]\npassword = \"{}\"\ngroups = [\"a\"]\nemail = \"ada@example.org\"\ndisabled = true\n",
        hash().as_str()
    );
    std::fs::write(&first, text).unwrap();
    without
        .comes("to know ada", || without.user("ada").is_some())
        .await;
    let expected = users_file::read(&first).unwrap();
    assert_eq!(without.user("ada").as_ref(), expected.get("ada"));
    node.store.remove("ada").await.unwrap();
    drop((node, without));
    // Nobody is left who knows, but the store does.
    let again = Node::start(server.settings(), Some(&first)).await;
    again.store.catch_up().await.unwrap();
    assert_eq!(again.user("ada"), None);
    assert!(again.store.is_gone("ada"));
}

#[tokio::test]
async fn a_users_file_that_cannot_be_taken_over_keeps_nobody_else_out() {
    let server = server!();
    let text = format!(
        "[user.ada]\npassword = \"{}\"\ngroups = [\"{}\"]\n",
        hash().as_str(),
        "g".repeat(20_000)
    );
    let (_folder, first) = file(&text);
    let node = Node::start(server.settings(), Some(&first)).await;
    node.store.catch_up().await.unwrap();
    assert_eq!(node.user("ada"), None);
    node.add("bo").await;
    let large = User::new("cy".to_owned(), hash()).in_groups(vec!["g".repeat(20_000)]);
    assert!(matches!(
        node.store.add(large).await,
        Err(ChangeError::Store(StoreFault::TooLarge))
    ));
}
