//! Git, with the backend that it brings along.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::version_control::{git_behind_apache, large_file};

/// Of Apache; what it writes down is all that it sees of who asks.
const CONFIG: &str = "SetEnv GIT_PROJECT_ROOT /srv/git\nSetEnv GIT_HTTP_EXPORT_ALL 1\n\
    SetEnvIf X-Forwarded-User (.+) REMOTE_USER=$1\nScriptAlias / /usr/lib/git-core/git-http-backend/\n\
    CustomLog FOLDER/seen \"%{Authorization}i %{X-Forwarded-User}i\"\n";

/// In KiB a second.
const SLOW: &str = "LoadModule ratelimit_module /usr/lib/apache2/modules/mod_ratelimit.so\n\
    SetOutputFilter RATE_LIMIT\nSetEnv rate-limit 100\n";

/// Ada's computer, with a name for commits.
fn desk(gate: &Gate, config: &str) -> Home {
    let home = Home::of(gate);
    let text = format!(
        "{config}[user]\nname = Ada\nemail = ada@example.org\n[init]\ndefaultBranch = main\n\
         [http]\npostBuffer = 131072\n"
    );
    home.write(".gitconfig", text);
    home
}

/// Clones, commits and pushes a branch with this file.
async fn clone_and_push(home: &Home, git: &Path, url: &str, file: &str) {
    home.done(git, &["clone", url, "wiki"]).await;
    home.write(&format!("wiki/{file}"), large_file());
    home.done(git, &["-C", "wiki", "add", file]).await;
    home.done(git, &["-C", "wiki", "commit", "-m", file]).await;
    let branch = format!("HEAD:refs/heads/{file}");
    home.done(git, &["-C", "wiki", "push", "origin", &branch])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn git_clones_and_pushes_with_a_token_and_with_a_password() {
    let Some(git) = real::find("git") else {
        return;
    };
    let Some(app) = git_behind_apache(&git, CONFIG).await else {
        return;
    };
    let mut gate = before(&app.url()).start().await;
    let token = token(&mut gate, &[]);
    let at = |origin: &str| format!("{origin}/wiki.git");

    let in_the_address = desk(&gate, "");
    let url = at(&url_for(&gate, "ada", &token));
    clone_and_push(&in_the_address, &git, &url, "one").await;

    let by_netrc = desk(&gate, "");
    by_netrc.write_netrc("ada", &token);
    clone_and_push(&by_netrc, &git, &at(&origin(&gate)), "two").await;

    let header = format!("[http]\nextraHeader = Authorization: Bearer {token}\n");
    let by_header = desk(&gate, &header);
    clone_and_push(&by_header, &git, &at(&origin(&gate)), "three").await;

    let by_password = desk(&gate, "");
    let url = at(&url_for(&gate, "ada", PASSWORD));
    clone_and_push(&by_password, &git, &url, "four").await;

    for branch in ["one", "two", "three", "four"] {
        let log = app.path(&format!("repos/wiki.git/logs/refs/heads/{branch}"));
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(log.matches(" ada <ada@").count(), 1, "{log}");
    }
    let seen = fs::read_to_string(app.path("seen")).unwrap();
    assert!(seen.lines().count() > 12, "{seen}");
    assert!(seen.lines().all(|line| line == "- ada"), "{seen}");

    revoke(&mut gate);
    for home in [&by_netrc, &by_header] {
        let (done, said) = home.run(&git, &["-C", "wiki", "fetch"]).await;
        assert!(!done && said.contains("Authentication failed"), "{said}");
    }
    by_password.done(&git, &["-C", "wiki", "fetch"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_75_a_clone_ends_with_its_token() {
    let Some(git) = real::find("git") else {
        return;
    };
    let config = SLOW.to_owned() + CONFIG;
    let Some(app) = git_behind_apache(&git, &config).await else {
        return;
    };
    let mut gate = before(&app.url()).start().await;
    let token = token(&mut gate, &[]);
    let home = desk(&gate, "");
    let url = format!("{}/wiki.git", url_for(&gate, "ada", &token));
    clone_and_push(&home, &git, &url, "large").await; // some seconds' worth

    let mut clone = home.start(&git, &["clone", "-b", "large", &url, "again"]);
    let packs = home.path("again/.git/objects/pack");
    eventually("the beginning of the pack", || {
        let files = fs::read_dir(&packs).into_iter().flatten().flatten();
        let mut sizes = files.map(|file| file.metadata().map_or(0, |file| file.len()));
        sizes.any(|size| size > 10_000)
    })
    .await;
    assert!(clone.is_running());
    revoke(&mut gate);
    let end = timeout(Duration::from_secs(1), clone.exit()).await;
    let status = end.expect("it goes on after a second");
    assert!(!status.success());
    let said = clone.stderr();
    assert!(
        said.contains("early EOF") || said.contains("RPC failed"),
        "{said}"
    );
}
