//! HAProxy, a reverse proxy with TLS and no login.

use std::process::Command;

use super::{Login, Peer};

pub(super) const HAPROXY: Peer = Peer {
    name: "haproxy",
    title: "HAProxy",
    program: "haproxy",
    version: "-vv",
    login: Login::None,
    prepare: |site, program| {
        site.write("both.pem", &format!("{}{}", site.cert, site.key))?;
        let config = site.configure("haproxy.cfg", TEMPLATE)?;
        let mut command = Command::new(program);
        command.args(["-db", "-f"]).arg(config);
        Ok(command)
    },
    answers: None,
};

const TEMPLATE: &str = "
global
    nbthread <workers>
    maxconn 8000
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
    http-reuse always
frontend visitors
    bind 127.0.0.1:<port> ssl crt <folder>/both.pem alpn h2,http/1.1 backlog 4096
    option forwardfor
    http-request set-header X-Forwarded-Proto https
    default_backend app
backend app
    server app <app>
";
