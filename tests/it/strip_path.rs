//! Apps that know nothing of the path below which visitors see them: SEC-93, SEC-94.

use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use hyper::Method;

use crate::harness::*;
use crate::rewriting::parrot;

const HOST: &str = "host = \"gate.test\"";

/// A gate with one app at the root of its host, and one below `/wiki` that is not told of it.
async fn gate(root: &str, wiki: &str, keys: &str) -> Gate {
    let rule = "[[app.rule]]\npath = \"/wiki/closed\"\nallow = \"nobody\"\n";
    Vestibule::before_url(root)
        .app(HOST)
        .public()
        .config(&format!(
            "[[app]]\n{HOST}\npath = \"/wiki/\"\nstrip_path = true\nupstream = \"{wiki}\"\n{keys}\n\
             [[app.rule]]\npath = \"/\"\nallow = \"everyone\"\n{rule}"
        ))
        .start()
        .await
}

/// What a browser gets of an app that says these fields, byte by byte and by HTTP/2.
async fn told(gate: &Gate, target: &str, say: &str) -> Reply {
    let mut raw = gate.raw().await;
    raw.send(format!(
        "GET {target} HTTP/1.1\r\nHost: gate.test\r\nX-Say: {say}\r\n\r\n"
    ))
    .await;
    let reply = raw.response().await;
    let http2 = gate.browser().over_http2().header("x-say", say);
    let http2 = http2.get(target).await;
    for name in ["location", "link", "refresh", "set-cookie"] {
        assert_eq!(http2.values(name), reply.values(name));
    }
    reply
}

#[tokio::test]
async fn sec_94_the_path_is_put_back_where_it_was_taken_off() {
    let app = parrot().await;
    for preserve_host in [true, false] {
        let keys = format!("preserve_host = {preserve_host}");
        let gate = gate(&app.url(), &app.url(), &keys).await;
        for (said, expected) in [
            ("/x?y=/", "/wiki/x?y=/"),
            ("/wiki/x", "/wiki/x"),
            ("http://HOST/x", "https://gate.test/wiki/x"),
            ("https://gate.test/x", "https://gate.test/wiki/x"),
            ("//gate.test", "//gate.test/wiki/"),
            (&format!("{}/", app.url()), "https://gate.test/wiki/"),
            ("x", "x"),
            ("//other.test/x", "//other.test/x"),
            ("http://other.test/x", "http://other.test/x"),
            ("/.vestibule/logout", "/.vestibule/logout"),
        ] {
            let say = format!(
                "Location: {said}|Content-Location: {said}|Refresh: 1; url={said}|\
                 Link: <{said}>; rel=next, <x>|Link: <{said}>"
            );
            let reply = told(&gate, "/wiki/a/b", &say).await;
            for name in ["location", "content-location"] {
                assert_eq!(reply.values(name), [expected]);
            }
            assert_eq!(reply.values("refresh"), [format!("1; url={expected}")]);
            let links = [
                format!("<{expected}>; rel=next, <x>"),
                format!("<{expected}>"),
            ];
            assert_eq!(reply.values("link"), links);
            assert_eq!(reply.text(), "http://gate.test/", "bodies stay");
        }
        told(&gate, "/a", "Location: /x")
            .await
            .assert_header("location", "/x");
    }
}

#[tokio::test]
async fn sec_94_cookies_reach_the_app_below_its_path_only() {
    let app = parrot().await;
    let gate = gate(&app.url(), &app.url(), "").await;
    let say = "Set-Cookie: a=1; Path=/|Set-Cookie: b=2; Path=/x; Secure|Set-Cookie: c=3; Secure|\
               Set-Cookie: d=4; Path=/wiki/; Secure|Set-Cookie: __Host-e=5; Path=/; Secure|\
               Set-Cookie: f=6; Path=/.vestibule/; Secure";
    let reply = told(&gate, "/wiki/", say).await;
    let expected = [
        "a=1; Path=/wiki/; Secure",
        "b=2; Path=/wiki/x; Secure",
        "c=3; Secure",
        "d=4; Path=/wiki/; Secure",
        "__Host-e=5; Path=/; Secure",
        "f=6; Path=/wiki/.vestibule/; Secure",
    ];
    assert_eq!(reply.values("set-cookie"), expected);
    let of_root = told(&gate, "/x", "Set-Cookie: a=1; Path=/; Secure").await;
    of_root.assert_header("set-cookie", "a=1; Path=/; Secure");
}

#[tokio::test]
async fn the_path_is_put_back_whatever_else_is_rewritten_and_goes_with_a_reload() {
    let app = parrot().await;
    let keys = "rewrite_redirects = false\nsecure_cookies = false";
    let mut gate = gate(&app.url(), &app.url(), keys).await;
    let say = "Location: /x|Set-Cookie: a=1; Path=/|Content-Location: http://HOST/x";
    told(&gate, "/wiki/", say)
        .await
        .assert_header("location", "/wiki/x")
        .assert_header("set-cookie", "a=1; Path=/wiki/")
        .assert_header("content-location", "http://gate.test/x");
    gate.reload(|text| text.replace("strip_path = true", "strip_path = false"))
        .unwrap();
    told(&gate, "/wiki/", say)
        .await
        .assert_header("location", "/x")
        .assert_header("set-cookie", "a=1; Path=/");
}

#[tokio::test]
async fn sec_73_an_app_gets_no_address_of_ours_without_its_path_either() {
    let app = Upstream::echo().await;
    let gate = gate(
        &app.url(),
        &app.url(),
        "allow_in_path = [\"encoded-slash\"]",
    )
    .await;
    for path in [
        "/.vestibule/login",
        "/.vestibule%2Flogin",
        "/.vestibule;x/login",
    ] {
        let line = format!("GET /wiki{path}");
        dav(&gate, &line, "").await.assert_status(404);
        let to = format!("Destination: /wiki{path}");
        dav(&gate, "MOVE /wiki/x", &to).await.assert_status(404);
    }
    assert_eq!(app.requests(), 0);
}

/// A request of `WebDAV` with these fields.
async fn dav(gate: &Gate, line: &str, fields: &str) -> Reply {
    let mut raw = gate.raw().await;
    raw.send(format!(
        "{line} HTTP/1.1\r\nHost: gate.test\r\n{fields}\r\n\r\n"
    ))
    .await;
    raw.response().await
}

#[tokio::test]
async fn sec_93_a_destination_loses_the_path_as_the_request_does() {
    let (root, wiki) = (Upstream::echo().await, Upstream::echo().await);
    for (preserve_host, rewrites) in [(true, true), (false, true), (true, false)] {
        let keys = format!(
            "preserve_host = {preserve_host}\nrewrite_redirects = {rewrites}\n\
             allow_in_path = [\"encoded-slash\"]"
        );
        let gate = gate(&root.url(), &wiki.url(), &keys).await;
        let origin = match (preserve_host, rewrites) {
            (_, false) => "https://gate.test",
            (true, _) => "http://gate.test",
            (false, _) => &wiki.url(),
        };
        for (path, seen) in [
            ("/wiki/b%20c", "/b%20c"),
            ("/wiki/wiki/x?y=/wiki/", "/wiki/x?y=/wiki/"),
            ("/wiki/", "/"),
            ("/wiki", "/"),
            ("//%77iki//%62", "/b"),
        ] {
            for (sent, seen) in [
                (path.to_owned(), seen.to_owned()),
                (
                    format!("https://gate.test{path}"),
                    format!("{origin}{seen}"),
                ),
            ] {
                if sent.starts_with("//") {
                    continue; // names a host
                }
                for method in ["MOVE", "COPY"] {
                    let fields = format!(
                        "Destination: {sent}\r\nIf: <{sent}> (<urn:/wiki/>) (Not </wiki/x>)"
                    );
                    let reply = dav(&gate, &format!("{method} /wiki/a"), &fields).await;
                    reply.assert_status(200);
                    let got = wiki.last();
                    assert_eq!(got.target(), "/a");
                    assert_eq!(got.values("destination"), [&*seen]);
                    let condition = format!("<{seen}> (<urn:/wiki/>) (Not </wiki/x>)");
                    assert_eq!(got.values("if"), [condition]);
                }
            }
        }
        let count = wiki.requests();
        for closed in ["/wiki/closed/x", "/wiki/%2Fx%2Fclosed"] {
            let fields = format!("Destination: https://gate.test{closed}");
            dav(&gate, "MOVE /wiki/a", &fields).await.assert_status(403);
        }
        assert_eq!(wiki.requests(), count);
    }
    assert_eq!(root.requests(), 0);
}

#[tokio::test]
async fn sec_93_nothing_moves_from_one_app_to_another() {
    let (root, wiki) = (Upstream::echo().await, Upstream::echo().await);
    let keys = "allow_in_path = [\"encoded-slash\"]";
    let gate = gate(&root.url(), &wiki.url(), keys).await;
    for (path, destination) in [
        ("/wiki/a", "/b"),
        ("/wiki/a", "/wikis/b"),
        ("/wiki/a", "https://gate.test/"),
        ("/wiki/a", "https://gate.test"),
        ("/wiki/a", "https://other.test/wiki/b"),
        ("/a", "/wiki/b"),
        ("/a", "https://gate.test/%77iki/b"),
        ("/a", "/wiki;x/b"),
        ("/a", "http://other.test/b"),
    ] {
        for line in [format!("MOVE {path}"), format!("COPY {path}")] {
            let reply = dav(&gate, &line, &format!("Destination: {destination}")).await;
            reply.assert_status(502);
            assert_eq!(reply.json()["error"], "destination_elsewhere", "{line}");
        }
        let condition = format!("If: <{destination}> (<urn:x>)\r\nContent-Length: 0");
        dav(&gate, &format!("PUT {path}"), &condition)
            .await
            .assert_status(502);
    }
    assert_eq!((root.requests(), wiki.requests()), (0, 0));
    dav(&gate, "MOVE /a", "Destination: /wikis/b")
        .await
        .assert_status(200);
    assert_eq!(root.last().value("destination"), Some("/wikis/b"));
}

/// A server for `WebDAV`, with its files in `www`.
async fn dav_server(name: &str, folder: &Path) -> Option<(Program, String)> {
    let file = real::find(name)?;
    let (address, root) = (held_port(), folder.join("www"));
    let at = folder.display();
    fs::create_dir(&root).unwrap();
    let config = if name == "nginx" {
        format!(
            "daemon off; master_process off; error_log stderr; pid {at}/pid;\nevents {{}}\n\
             http {{ access_log off; client_body_temp_path {at}/t; proxy_temp_path {at}/t;\n\
             fastcgi_temp_path {at}/t; uwsgi_temp_path {at}/t; scgi_temp_path {at}/t;\n\
             server {{ listen {address}; root {at}/www; create_full_put_path on;\n\
             dav_methods PUT DELETE MKCOL COPY MOVE; }} }}\n"
        )
    } else {
        let modules = ["mpm_event", "authz_core", "dir", "dav", "dav_fs"];
        let load =
            |name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
        format!(
            "ServerRoot {at}\nServerName gate.test\nListen {address}\n{}PidFile {at}/pid\n\
             ErrorLog {at}/log\nDefaultRuntimeDir {at}\nDocumentRoot {at}/www\n\
             DavLockDB {at}/locks\n<Directory {at}/www>\nRequire all granted\nDav On\n\
             </Directory>\n",
            modules.map(load).concat()
        )
    };
    let conf = folder.join("conf");
    fs::write(&conf, config).unwrap();
    let mut command = Command::new(file);
    if name == "nginx" {
        command.arg("-p").arg(folder).arg("-c").arg(&conf);
    } else {
        command.args(["-DFOREGROUND", "-f"]).arg(&conf);
    }
    let mut program = Program::spawn(command);
    program.wait_for_port(address).await;
    Some((program, format!("http://{address}")))
}

#[tokio::test]
async fn files_of_nginx_and_apache_are_copied_and_moved_below_a_path() {
    let root = Upstream::echo().await;
    for name in ["nginx", "apache2"] {
        let folder = tempfile::tempdir().unwrap();
        let Some((_program, url)) = dav_server(name, folder.path()).await else {
            continue;
        };
        let gate = gate(&root.url(), &url, "").await;
        let browser = gate.browser();
        let send = async |method: &str, path: &str, fields: &[(&str, &str)], body| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            browser
                .request(method, path, fields, Bytes::from_static(body))
                .await
        };
        let text = async |path: &str| browser.get(path).await.assert_status(200).text();
        let put = send("PUT", "/wiki/a.txt", &[], b"kept").await;
        put.assert_status(201);
        let to = [("destination", "https://gate.test/wiki/b%20c.txt")];
        send("COPY", "/wiki/a.txt", &to, b"").await;
        assert_eq!(text("/wiki/b%20c.txt").await, "kept", "{name}");
        let to = [("destination", "https://gate.test/wiki/d.txt")]; // Apache reads no other
        if name == "apache2" {
            let lock = "<lockinfo xmlns='DAV:'><lockscope><exclusive/></lockscope>\
                        <locktype><write/></locktype></lockinfo>";
            let locked = send("LOCK", "/wiki/a.txt", &[], lock.as_bytes()).await;
            let token = locked.assert_status(200).value("lock-token").unwrap();
            let condition = format!("<https://gate.test/wiki/a.txt> ({token})");
            send("MOVE", "/wiki/a.txt", &to, b"")
                .await
                .assert_status(423);
            let fields = [to[0], ("if", condition.as_str())];
            send("MOVE", "/wiki/a.txt", &fields, b"")
                .await
                .assert_status(201);
            let made = send("MKCOL", "/wiki/folder", &[], b"").await;
            made.assert_header("location", "https://gate.test/wiki/folder");
        } else {
            send("MOVE", "/wiki/a.txt", &to, b"")
                .await
                .assert_status(204);
            send("MKCOL", "/wiki/folder/", &[], b"").await;
        }
        assert_eq!(text("/wiki/d.txt").await, "kept", "{name}");
        browser.get("/wiki/a.txt").await.assert_status(404);
        let slash = browser.get("/wiki/folder").await.assert_status(301).clone();
        slash.assert_header("location", "https://gate.test/wiki/folder/");
        let away = [("destination", "https://gate.test/e.txt")];
        send("MOVE", "/wiki/d.txt", &away, b"")
            .await
            .assert_status(502);
        assert_eq!(text("/wiki/d.txt").await, "kept", "{name}");
    }
    assert_eq!(root.requests(), 0);
}
