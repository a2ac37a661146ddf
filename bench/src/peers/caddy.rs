//! Caddy, a reverse proxy with TLS and no login.

use std::process::Command;

use super::{Login, Peer};

pub(super) const CADDY: Peer = Peer {
    name: "caddy",
    title: "Caddy",
    program: "caddy",
    version: "version",
    login: Login::None,
    prepare: |site, program| {
        let config = site.configure("Caddyfile", TEMPLATE)?;
        let mut command = Command::new(program);
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(config);
        command.env("GOMAXPROCS", site.workers.to_string());
        for folder in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(folder, &site.folder);
        }
        Ok(command)
    },
    answers: None,
};

const TEMPLATE: &str = "
{
    admin off
    auto_https off
    log {
        level ERROR
    }
    servers {
        protocols h1 h2
    }
}
https://localhost:<port> {
    bind 127.0.0.1
    tls <folder>/cert.pem <folder>/key.pem
    reverse_proxy <app> {
        transport http {
            keepalive_idle_conns_per_host 256
        }
    }
}
";
