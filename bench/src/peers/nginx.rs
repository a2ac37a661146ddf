//! nginx: as a reverse proxy with TLS and no login, what the others are compared with, and with a
//! login by `auth_request`.

use std::io;
use std::path::Path;
use std::process::Command;

use super::{Login, Peer, Site, is_root};
use crate::machine;

pub(super) const NGINX: Peer = Peer {
    name: "nginx",
    title: "nginx",
    program: "nginx",
    version: "-V",
    login: Login::None,
    prepare: |site, program| prepare(site, program, "", "", ""),
    answers: Some(prepare_static),
};

/// A newer one, where it is installed beside the system's under this name or given with `--peer`:
/// with a newer library for TLS, it is the harder one to compare with.
pub(super) const CURRENT: Peer = Peer {
    name: "nginx-current",
    title: "nginx, newer",
    program: "nginx-current",
    ..NGINX
};

/// The verifier is another server of the same nginx, which compares a cookie: no real one is
/// cheaper.
pub(super) const AUTH_REQUEST: Peer = Peer {
    name: "nginx-auth-request",
    title: "nginx + auth_request",
    program: "nginx",
    version: "-V",
    login: Login::Cookie("session=0123456789abcdef0123456789abcdef"),
    prepare: |site, program| prepare(site, program, VERIFIER, ASK, ASKED),
    answers: None,
};

const TEMPLATE: &str = r#"
worker_processes <workers>;
error_log <folder>/error.log error;
pid <folder>/nginx.pid;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path <folder>/client-body;
    proxy_temp_path <folder>/proxy;
    fastcgi_temp_path <folder>/fastcgi;
    uwsgi_temp_path <folder>/uwsgi;
    scgi_temp_path <folder>/scgi;
    client_max_body_size 0;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    ssl_certificate <folder>/cert.pem;
    ssl_certificate_key <folder>/key.pem;
    ssl_protocols TLSv1.3;
    ssl_session_cache shared:tickets:10m;
    upstream app {
        server <app>;
        keepalive 256;
        keepalive_requests 1000000000;
    }
    <verifier>
    server {
        <listen>
        <ask>
        location / {
            <asked>
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto https;
        }
    }
}
"#;

const VERIFIER: &str = r#"
    map $cookie_session $user { "0123456789abcdef0123456789abcdef" ada; }
    upstream verifier {
        server unix:<folder>/verifier.sock;
        keepalive 256;
        keepalive_requests 1000000000;
    }
    server {
        listen unix:<folder>/verifier.sock;
        location / {
            if ($user = "") { return 401; }
            add_header X-User $user;
            return 200;
        }
    }
"#;

const ASK: &str = r#"
        location = /ask {
            internal;
            proxy_pass http://verifier;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Content-Length "";
            proxy_pass_request_body off;
        }
"#;

const ASKED: &str = r"
            auth_request /ask;
            auth_request_set $asked_user $upstream_http_x_user;
            proxy_set_header X-Remote-User $asked_user;
";

/// Says yes to everything: no verifier is cheaper.
const STATIC: &str = r"
worker_processes <workers>;
error_log <folder>/error.log error;
pid <folder>/nginx.pid;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path <folder>/client-body;
    proxy_temp_path <folder>/proxy;
    fastcgi_temp_path <folder>/fastcgi;
    uwsgi_temp_path <folder>/uwsgi;
    scgi_temp_path <folder>/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    server {
        listen 127.0.0.1:<questions> backlog=4096;
        location / { return 200; }
    }
}
";

fn prepare_static(site: &Site, program: &Path) -> io::Result<Command> {
    serve(site, program, STATIC)
}

fn prepare(
    site: &Site,
    program: &Path,
    verifier: &str,
    ask: &str,
    asked: &str,
) -> io::Result<Command> {
    let listen = if has_http2_directive(&machine::version(program, "-V")) {
        "listen 127.0.0.1:<port> ssl backlog=4096; http2 on;"
    } else {
        "listen 127.0.0.1:<port> ssl http2 backlog=4096;"
    };
    let template = TEMPLATE
        .replace("<listen>", listen)
        .replace("<verifier>", verifier)
        .replace("<ask>", ask)
        .replace("<asked>", asked);
    serve(site, program, &template)
}

fn serve(site: &Site, program: &Path, template: &str) -> io::Result<Command> {
    let user = if is_root() { "user root;" } else { "" };
    let config = site.configure("nginx.conf", &format!("{user}{template}"))?;
    let mut command = Command::new(program);
    command.arg("-p").arg(&site.folder).arg("-c").arg(config);
    command.arg("-e").arg(site.folder.join("error.log"));
    command.args(["-g", "daemon off;"]);
    Ok(command)
}

/// From 1.25.1 on, HTTP/2 is no longer a parameter of `listen`.
fn has_http2_directive(version: &str) -> bool {
    let number = version.split(' ').next().unwrap_or_default();
    let mut parts = number.split('.').map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    (part(), part(), part()) >= (1, 25, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_is_asked_for_as_the_version_wants_it() {
        for (version, has) in [
            ("1.22.1", false),
            ("1.25.0", false),
            ("1.25.1", true),
            ("1.31.3 (OpenSSL 3.5.1)", true),
            ("2.0", true),
        ] {
            assert_eq!(has_http2_directive(version), has, "{version}");
        }
    }
}
