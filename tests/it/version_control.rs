//! Repositories behind the login, with the clients that people have for them: Git, Mercurial and
//! Subversion.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::docs::page::Page;
use crate::harness::*;

/// A folder of a person with the cookies of their browser, in the format that curl and Python read.
struct Desk {
    folder: tempfile::TempDir,
    certificate: String,
}

impl Desk {
    fn of(gate: &Gate) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            certificate: gate.certificate(),
        }
    }

    /// Puts the session of the browser into the file; Python calls the host `localhost.local`.
    fn take_cookies(&self, browser: &Browser) {
        let cookie = browser.session_cookie().replacen('=', "\t", 1);
        let lines = ["localhost", "localhost.local"]
            .map(|host| format!("{host}\tFALSE\t/\tTRUE\t4102444800\t{cookie}\n"));
        let text = format!("# Netscape HTTP Cookie File\n{}", lines.concat());
        fs::write(self.path(".vestibule-cookies"), text).unwrap();
    }

    /// Runs a client to its end; gives what it says, and whether it did well.
    async fn run(&self, program: &Path, args: &[&str]) -> (bool, String) {
        let folder = self.folder.path();
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(folder)
            .env("HOME", folder)
            .env("LC_ALL", "C.UTF-8")
            .env("GIT_ASKPASS", "echo")
            .env("GIT_SSL_CAINFO", &self.certificate)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HGRCPATH", folder.join("hgrc"))
            .env_remove("GIT_DIR");
        let mut program = Program::spawn(command);
        let status = program.exit().await;
        let said = program.stdout_at_end().await + &program.stderr();
        (status.success(), said)
    }

    async fn done(&self, program: &Path, args: &[&str]) -> String {
        let (done, said) = self.run(program, args).await;
        assert!(done, "{args:?}: {said}");
        said
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

/// Git's own backend in Apache with this configuration, in which `/srv/git` is the folder with
/// `wiki.git`, an empty repository that keeps its reflog.
pub(crate) async fn git_behind_apache(git: &Path, config: &str) -> Option<real::App> {
    let exec = run_to_end(Command::new(git).arg("--exec-path"), "").1;
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("repos/wiki.git");
    let mut init = Command::new(git);
    init.args(["init", "-q", "--bare"]).arg(&bare);
    assert_eq!(run_to_end(&mut init, "").0, Some(0));
    fs::write(
        bare.join("config"),
        "[core]\nbare = true\nlogAllRefUpdates = true\n",
    )
    .unwrap();
    let config = config.replace("/srv/git", "FOLDER/repos");
    let config = config.replace("/usr/lib/git-core", exec.trim());
    let config = format!("ScriptSock FOLDER/cgid\nSetEnv HOME FOLDER\n{config}");
    let modules = ["alias", "cgid", "env", "setenvif"];
    real::apache(&modules, &config, folder).await
}

/// Enough that no client sends it in one piece, and nothing that packs well.
pub(crate) fn large_file() -> Vec<u8> {
    let numbers = std::iter::successors(Some(1_u32), |n| {
        Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
    });
    numbers.take(3 << 18).map(|n| n.to_be_bytes()[0]).collect()
}

async fn sign_in(gate: &Gate) -> Browser {
    let browser = gate.browser_for("localhost");
    browser.login("ada", PASSWORD).await
}

#[tokio::test(flavor = "multi_thread")]
async fn git_clones_and_pushes_as_the_user_of_the_browser() {
    let Some(git) = real::find("git") else {
        return;
    };
    let mut recipe = Page::open("recipes/git.md");
    let app = git_behind_apache(&git, &recipe.next("apache")).await;
    let gate = recipe.gate(&app.as_ref().map_or_else(String::new, real::App::url));
    let Some(app) = app else {
        return;
    };
    let (netrc, client) = (recipe.next("text"), recipe.next("ini"));
    let mut gate = gate.user("ada", PASSWORD).start().await;
    let ada = sign_in(&gate).await;
    let desk = Desk::of(&gate);
    desk.take_cookies(&ada);
    let origin = format!("https://localhost:{}", gate.address().port());
    let config = client.replace("https://git.example.org", &origin)
        + "[http]\npostBuffer = 131072\n\
           [user]\nname = Ada\nemail = ada@example.org\n[init]\ndefaultBranch = main\n";
    fs::write(desk.path(".gitconfig"), config).unwrap();
    let url = format!("{origin}/wiki.git");
    desk.done(&git, &["clone", &url, "wiki"]).await;
    let file = large_file();
    fs::write(desk.path("wiki/large"), &file).unwrap();
    desk.done(&git, &["-C", "wiki", "add", "large"]).await;
    desk.done(&git, &["-C", "wiki", "commit", "-m", "One"])
        .await;
    let push = ["-C", "wiki", "push", "origin", "HEAD:refs/heads/main"];
    desk.done(&git, &push).await;

    ada.logout().await;
    let more = ["-C", "wiki", "commit", "--allow-empty", "-m", "Two"];
    desk.done(&git, &more).await;
    let (done, said) = desk.run(&git, &push).await;
    assert!(!done && said.contains("an API token"), "{said}");
    desk.take_cookies(&sign_in(&gate).await);
    desk.done(&git, &push).await;

    desk.done(&git, &["clone", "-b", "main", &url, "again"])
        .await;
    assert_eq!(fs::read(desk.path("again/large")).unwrap(), file);
    let log = desk
        .done(&git, &["-C", "again", "log", "--format=%s"])
        .await;
    assert_eq!(log, "Two\nOne\n");

    // On a computer without a browser.
    let (code, token, said) = run(gate.files(), &["token", "add", "ada"]);
    assert_eq!(code, Some(0), "{said}");
    let netrc = netrc.replace("git.example.org", "localhost");
    let desk = Desk::of(&gate);
    fs::write(
        desk.path(".netrc"),
        netrc.replace("vst_…", token.trim_end()),
    )
    .unwrap();
    desk.done(&git, &["clone", "-b", "main", &url, "by-token"])
        .await;
    assert_eq!(fs::read(desk.path("by-token/large")).unwrap(), file);
    let log = app.path("repos/wiki.git/logs/refs/heads/main");
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.matches(" ada <ada@").count(), 2, "{log}");
}

#[tokio::test]
async fn mercurial_clones_and_pushes_with_the_session_of_the_browser() {
    let Some(hg) = real::find("hg") else {
        return;
    };
    let mut recipe = Page::open("recipes/mercurial.md");
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let repository = folder.path().join("wiki");
    let mut init = Command::new(&hg);
    init.arg("init").arg(&repository);
    assert_eq!(run_to_end(init.env("HGRCPATH", ""), "").0, Some(0));
    fs::write(repository.join(".hg/hgrc"), recipe.next("ini")).unwrap();
    let line = recipe
        .next("sh")
        .replace("8000", &address.port().to_string());
    let line = line.replace("/srv/hg/wiki", &repository.display().to_string());
    let words = line.strip_prefix("hg ").unwrap().split_whitespace();
    let mut serve = Command::new(&hg);
    serve.env("HGRCPATH", "").args(words);
    let app = real::App::start(serve, address, folder).await;
    let client = recipe.next("ini");
    let gate = recipe.gate(&app.url()).user("ada", PASSWORD).start().await;
    let ada = sign_in(&gate).await;
    let desk = Desk::of(&gate);
    desk.take_cookies(&ada);
    let config = format!(
        "[ui]\nusername = Ada\ninteractive = false\n{client}[web]\ncacerts = {}\n",
        gate.certificate()
    );
    fs::write(desk.path("hgrc"), config).unwrap();
    let url = format!("https://localhost:{}/", gate.address().port());
    desk.done(&hg, &["clone", &url, "wiki"]).await;
    let file = large_file();
    fs::write(desk.path("wiki/large"), &file).unwrap();
    desk.done(&hg, &["-R", "wiki", "commit", "-A", "-m", "One"])
        .await;
    desk.done(&hg, &["-R", "wiki", "push"]).await;

    ada.logout().await;
    desk.done(&hg, &["-R", "wiki", "tag", "two"]).await;
    let (done, said) = desk.run(&hg, &["-R", "wiki", "push"]).await;
    assert!(
        !done && said.contains("http authorization required"),
        "{said}"
    );
    let ada = sign_in(&gate).await;
    desk.take_cookies(&ada);
    desk.done(&hg, &["-R", "wiki", "push"]).await;
    desk.done(&hg, &["clone", "-r", "two", &url, "again"]).await;
    assert_eq!(fs::read(desk.path("again/large")).unwrap(), file);
    let page = ada.get("/file/tip/").await;
    assert!(page.assert_status(200).text().contains("large"), "{page}");
}

/// Subversion sends no cookies, so its users get to it by a rule for their network, or as here for
/// everyone; browsers sign in.
#[tokio::test]
async fn subversion_commits_and_copies_where_a_rule_lets_it() {
    let (Some(svn), Some(admin)) = (real::find("svn"), real::find("svnadmin")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("repos")).unwrap();
    for name in ["open", "closed"] {
        let repository = folder.path().join("repos").join(name);
        let mut create = Command::new(&admin);
        assert_eq!(
            run_to_end(create.arg("create").arg(repository), "").0,
            Some(0)
        );
    }
    let mut recipe = Page::open("recipes/subversion.md");
    let config = recipe.next("apache").replace("/srv/svn", "FOLDER/repos");
    let app = real::apache(&["dav", "dav_svn"], &config, folder).await;
    let gate = recipe.gate(&app.as_ref().map_or_else(String::new, real::App::url));
    let Some(_app) = app else {
        return;
    };
    let gate = gate.user("ada", PASSWORD).start().await;
    let desk = Desk::of(&gate);
    let ca = format!("servers:global:ssl-authority-files={}", gate.certificate());
    let svn = async |args: &str| {
        let fixed = ["--non-interactive", "--config-option", &ca];
        let args: Vec<_> = args.split(' ').chain(fixed).collect();
        desk.run(&svn, &args).await
    };
    let done = async |args: &str| {
        let (done, said) = svn(args).await;
        assert!(done, "{args}: {said}");
        said
    };
    let url = format!("https://localhost:{}/svn", gate.address().port());
    done(&format!(
        "mkdir -m Begin --parents {url}/open/trunk {url}/open/tags"
    ))
    .await;
    done(&format!("checkout {url}/open wc")).await;
    let (file, name) = (large_file(), "50%25\u{e4} [a].bin");
    fs::write(desk.path("wc/trunk").join(name), &file).unwrap();
    done("add --force wc/trunk").await;
    done("commit -m One wc").await;
    done(&format!("copy -m Tag {url}/open/trunk {url}/open/tags/1.0")).await;
    done("update wc").await;
    assert_eq!(fs::read(desk.path("wc/tags/1.0").join(name)).unwrap(), file);
    done("move wc/trunk wc/tags/2.0").await;
    done("commit -m Two wc").await;
    let log = done(&format!("log -q {url}/open")).await;
    assert_eq!(log.matches("\nr").count(), 4, "{log}");

    let (listed, said) = svn(&format!("ls {url}/closed")).await;
    assert!(!listed && said.contains("Authentication failed"), "{said}");
    let browser = gate.browser();
    let page = browser.get("/svn/closed/").await;
    page.assert_redirects_to("/.vestibule/login?return_to=%2Fsvn%2Fclosed%2F");
    let page = browser
        .login("ada", PASSWORD)
        .await
        .get("/svn/closed/")
        .await;
    assert!(
        page.assert_status(200).text().contains("Revision 0"),
        "{page}"
    );
}
