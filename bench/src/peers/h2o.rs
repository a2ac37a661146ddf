//! H2O, a reverse proxy with TLS and no login.

use std::process::Command;

use super::{Login, Peer, is_root};

pub(super) const H2O: Peer = Peer {
    name: "h2o",
    title: "H2O",
    program: "h2o",
    version: "-v",
    login: Login::None,
    prepare: |site, program| {
        let user = if is_root() { "user: root" } else { "" };
        let config = site.configure("h2o.yaml", &format!("{user}{TEMPLATE}"))?;
        let mut command = Command::new(program);
        command.args(["-m", "worker", "-c"]).arg(config);
        Ok(command)
    },
    answers: None,
};

const TEMPLATE: &str = r#"
num-threads: <workers>
max-connections: 8000
http1-request-timeout: 300
http2-idle-timeout: 300
limit-request-body: 1073741824
proxy.timeout.keepalive: 60000
temp-buffer-path: <folder>
listen:
  host: 127.0.0.1
  port: <port>
  ssl:
    certificate-file: <folder>/cert.pem
    key-file: <folder>/key.pem
    minimum-version: TLSv1.2
hosts:
  default:
    paths:
      "/":
        proxy.reverse.url: "http://<app>/"
"#;
