use super::*;

const SOURCE: &str = "/usr/share/mediawiki";

/// Apache with PHP, and a fresh wiki in `SQLite` with the settings of the recipe.
async fn wiki() -> Option<(real::App, Page)> {
    let php = real::find("php")?;
    let install = format!("{SOURCE}/maintenance/install.php");
    if !std::path::Path::new(&install).is_file() {
        real::missing(&install);
        return None;
    }
    let mut recipe = Page::open("recipes/mediawiki.md");
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    for name in ["data", "images"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let mut command = Command::new(php);
    command
        .args([&*install, "--dbtype=sqlite", "--dbname=wiki"])
        .args([&format!("--dbpath={at}/data"), &format!("--confpath={at}")])
        .args(["--scriptpath=", "--server=https://wiki.example.org"])
        .args(["--pass=of-the-administrator", "Wiki", "Admin"]);
    let (code, said, errors) = run_to_end(&mut command, "");
    assert_eq!(code, Some(0), "{said}{errors}");
    // Apache changes its user where it is started by root.
    let mut command = Command::new("chmod");
    command.args(["-R", "a+rwX", &at]);
    assert_eq!(run_to_end(&mut command, "").0, Some(0));
    let aliases = recipe.next("apache").replace("/var/lib/mediawiki", SOURCE);
    let settings = recipe.next("php").replace("/var/lib/mediawiki", &at);
    let mut all = fs::read_to_string(folder.path().join("LocalSettings.php")).unwrap();
    all += &settings;
    // The port of the gate is a free one.
    all += "$wgServer = 'https://' . ($_SERVER['HTTP_HOST'] ?? '');\n";
    fs::write(folder.path().join("LocalSettings.php"), all).unwrap();
    let config = format!(
        "User www-data\nGroup www-data\nTypesConfig /etc/mime.types\nDocumentRoot {SOURCE}\n\
         SetEnv MW_CONFIG_FILE FOLDER/LocalSettings.php\n\
         AddHandler application/x-httpd-php .php\nDirectoryIndex index.php\n\
         Alias /images FOLDER/images\n{aliases}"
    );
    let modules = ["alias", "dir", "env", "mime"];
    let app = real::apache_with_php(&modules, &config, folder).await;
    if app.is_none() {
        recipe.next("toml");
    }
    Some((app?, recipe))
}

/// A page is written, a picture uploaded, and a form that comes too late is not lost.
#[tokio::test]
async fn pages_of_mediawiki_are_written_by_the_user_of_the_login() {
    let Some((app, mut recipe)) = wiki().await else {
        return;
    };
    let Some(desk) = Desk::of(app, &mut recipe).await else {
        return;
    };
    let browser = &desk.browser;
    let write = async |title: &str, text: &str| {
        desk.goto(&format!("/index.php?title={title}&action=edit"))
            .await;
        browser.type_into("#wpTextbox1", text).await;
    };
    desk.goto("/wiki/Special:MyPage?action=history").await;
    desk.sign_in().await;
    desk.sees("User:Ada").await;
    write("A/B_%26_50%25", "First words.").await;
    browser.click("#wpSave").await;
    desk.sees("First words.").await;
    let at = format!("{}/wiki/A/B_%26_50%25", desk.origin);
    assert_eq!(browser.url().await, at);

    let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/images/kept-form.png");
    desk.goto("/wiki/Special:Upload").await;
    browser.type_into("#wpUploadFile", picture).await;
    browser.click("[name=wpUpload]").await;
    desk.sees("File:Kept-form.png").await;
    let length = browser
        .script(
            "return (async () => {
                const answer = await fetch(document.querySelector('.fullMedia a, .fullImageLink a').href);
                return (await answer.blob()).size;
            })()",
        )
        .await;
    assert_eq!(length, json!(fs::metadata(picture).unwrap().len()));

    write("Late", "Written for an hour.").await;
    desk.sign_out_elsewhere().await;
    browser.click("#wpSave").await;
    desk.sees("is kept for 15 minutes").await;
    desk.sign_in().await;
    desk.sees("You were about to send this").await;
    browser.click(".kept button").await;
    desk.sees("Written for an hour.").await;
    desk.goto("/wiki/Special:RecentChanges?days=30").await;
    desk.sees("Ada").await;
}

/// Titles with slashes, colons and percent signs are paths, and the API has them in one segment.
#[tokio::test]
async fn every_title_of_mediawiki_can_be_read_and_written() {
    let Some((app, mut recipe)) = wiki().await else {
        return;
    };
    let gate = recipe.gate(&app.url()).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let root = ada.get("/").await;
    root.assert_status(301);
    root.assert_header("location", "https://gate.test/wiki/Main_Page");
    for (path, title) in [
        ("A/B", "A/B"),
        ("C%2B%2B", "C++"),
        ("50%25", "50%"),
        ("Talk:A:B", "Talk:A:B"),
        ("What%3F", "What?"),
        ("%C3%84rger", "Ärger"),
        ("Etc.", "Etc."),
    ] {
        let token = ada
            .fetch("/api.php?action=query&meta=tokens&format=json")
            .await;
        let token = &token.json()["query"]["tokens"]["csrftoken"];
        let fields = [
            ("action", "edit"),
            ("format", "json"),
            ("title", title),
            ("text", &format!("This is {title}.")),
            ("token", token.as_str().unwrap()),
        ];
        let saved = ada.post_form("/api.php", &fields).await;
        assert_eq!(saved.json()["edit"]["result"], "Success", "{saved}");
        let page = ada.get(&format!("/wiki/{path}")).await;
        page.assert_status(200)
            .assert_contains(&format!("This is {title}."));
        let segment = path.replace('/', "%2F");
        let by_api = ada.fetch(&format!("/rest.php/v1/page/{segment}")).await;
        assert_eq!(by_api.assert_status(200).json()["title"], title, "{by_api}");
    }
}
