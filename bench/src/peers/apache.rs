//! Apache's httpd with the event MPM, a reverse proxy with TLS and no login.

use std::process::Command;

use super::{Login, Peer, is_root};

pub(super) const APACHE: Peer = Peer {
    name: "apache",
    title: "Apache httpd",
    program: "apache2",
    version: "-v",
    login: Login::None,
    prepare: |site, program| {
        let modules =
            MODULES.map(|name| format!("LoadModule {name}_module {FOLDER}/mod_{name}.so\n"));
        let user = if is_root() { USER } else { "" };
        let text = format!("{}{user}{TEMPLATE}", modules.concat());
        let config = site.configure("apache.conf", &text)?;
        let mut command = Command::new(program);
        command.arg("-DFOREGROUND").arg("-f").arg(config);
        Ok(command)
    },
    answers: None,
};

/// Where Debian has the modules.
const FOLDER: &str = "/usr/lib/apache2/modules";

const MODULES: [&str; 8] = [
    "mpm_event",
    "authz_core",
    "headers",
    "http2",
    "proxy",
    "proxy_http",
    "socache_shmcb",
    "ssl",
];

/// It refuses to serve as root.
const USER: &str = "User #65534\nGroup #65534\n";

const TEMPLATE: &str = "
ServerRoot <folder>
ServerName localhost
DefaultRuntimeDir <folder>
PidFile <folder>/apache.pid
ErrorLog <folder>/error.log
LogLevel error
Listen 127.0.0.1:<port>
ListenBacklog 4096
KeepAlive On
KeepAliveTimeout 300
MaxKeepAliveRequests 0
StartServers 2
ServerLimit 16
ThreadsPerChild 64
MaxRequestWorkers 1024
AsyncRequestWorkerFactor 16
Protocols h2 http/1.1
SSLSessionCache shmcb:<folder>/tickets(5120000)
<VirtualHost 127.0.0.1:<port>>
    SSLEngine on
    SSLCertificateFile <folder>/cert.pem
    SSLCertificateKeyFile <folder>/key.pem
    SSLProtocol TLSv1.3
    RequestHeader set X-Forwarded-Proto https
    ProxyPass / http://<app>/ keepalive=On
</VirtualHost>
";
