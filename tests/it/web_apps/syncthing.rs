use super::*;

#[tokio::test]
async fn the_page_of_syncthing_is_for_its_owner() {
    let Some(file) = real::find("syncthing") else {
        return;
    };
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let mut command = Command::new(file);
    command
        .env("HOME", folder.path())
        .env("STNODEFAULTFOLDER", "1")
        .env("STNOUPGRADE", "1")
        .args(["serve", "--no-browser"])
        .arg(format!("--gui-address={address}"))
        .arg(format!("--home={}", folder.path().display()));
    let app = real::App::start_slowly(command, address, folder).await;
    let refused = Vestibule::before_url(&app.url()).public().start().await;
    let page = refused.browser().get("/").await;
    page.assert_status(403).assert_contains("Host check error");
    let mut recipe = Page::open("recipes/syncthing.md");
    let Some(desk) = Desk::of(app, &mut recipe).await else {
        return;
    };
    desk.goto("/").await;
    desk.sign_in().await;
    desk.sees("This Device").await;
    desk.sees("Uptime").await;
    // It changes nothing without the token that its page has in a cookie.
    let pause = "const [, name, value] = document.cookie.match(/(CSRF-Token-[^=]+)=([^;]+)/);
        const ask = headers => fetch('rest/system/pause', {method: 'POST', headers});
        return (async () => [(await ask({})).status, (await ask({['X-' + name]: value})).status])()";
    let statuses = desk.browser.script(pause).await;
    assert_eq!(statuses, json!([403, 200]));

    // What its page asks for then is answered in a way that it can read. Whether it says so to people is
    // up to what it was asking for just then: it forgets to where that request was cut.
    desk.sign_out_elsewhere().await;
    let ask = "return fetch('rest/system/status').then(answer => answer.status)";
    assert_eq!(desk.browser.script(ask).await, json!(401));
    assert_eq!(
        desk.browser.script("return location.pathname").await,
        json!("/")
    );
    desk.goto("/?again").await;
    desk.sign_in().await;
    desk.sees("This Device").await;
}
