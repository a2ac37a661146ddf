//! Whatever passes as open to everyone, no real server behind reads as what is closed (SEC-93).

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use futures_util::future::join_all;
use tokio::net::TcpStream;

use crate::harness::*;

/// What stands in the file that is closed.
const SECRET: &str = "SECRET-OF-THE-ADMINS";

const FORMS: [&str; 5] = [
    "encoded-slash",
    "encoded-percent",
    "encoded-backslash",
    "any-bytes",
    "double-slash",
];

/// Ways of writing the path of the file.
fn spellings() -> BTreeSet<Vec<u8>> {
    let names = "admin %61dmin %2561dmin %252561dmin admin;x admin%3Bx admin%253Bx admin. \
                 admin%20 admin%2520 admin%2E admin%252E admin%00 admin%2500 ad%09min ad%2509min \
                 ad%250Amin ad%FFmin %C1%A1dmin %E0%81%A1dmin %F0%80%81%A1dmin %25C1%25A1dmin \
                 admin%7F %00admin adm%C4%B1n";
    let ends = "/secret.txt %2Fsecret.txt %252Fsecret.txt %5Csecret.txt %255Csecret.txt \
                ;/secret.txt //secret.txt %C0%AFsecret.txt /secret.txt%3Fx /secret.txt%23x \
                /secret.txt%253Fx /secret.txt;x /secret.txt.";
    let begins = "/ // /// /x/../ /x%2F..%2F /%2F /%252F /%5C /%255C /x/..;/ /;x/ //x/ //x//../ \
                  /x/%2E%2E/ /x/%252E%252E/ /x/..%00/ /x/.%09./ /x/%C0%AE%C0%AE/ /./ /%2E/ /%C0%AF \
                  ///x/ ////x// /%2F/x/ /%2F%2Fx/ /%5C%5Cx/ /;/;/x/ /%09//%09/x/";
    let mut all = BTreeSet::new();
    for name in names.split_whitespace() {
        for end in ends.split_whitespace() {
            all.insert(format!("/{name}{end}").into_bytes());
        }
    }
    for begin in begins.split_whitespace() {
        for rest in [
            "admin/secret.txt",
            "%61dmin%2Fsecret.txt",
            "admin%5Csecret.txt",
        ] {
            all.insert(format!("{begin}{rest}").into_bytes());
        }
    }
    for raw in [
        &b"/adm\xffin/secret.txt"[..],
        b"/admin/secret.txtx",
        b"/admin/secret.txt%20x",
        b"/admin/%3Fsecret.txt",
        b"/admin\xc0\xafsecret.txt",
        b"/admin\\secret.txt",
    ] {
        all.insert(raw.to_vec());
    }
    assert!(all.len() >= 200, "{}", all.len());
    all
}

/// What of these an app with these forms in `allow_in_path` gets of a stranger, as it gets it.
async fn passed(forms: &[&str], closed: &str, spellings: &BTreeSet<Vec<u8>>) -> BTreeSet<String> {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app(&format!("allow_in_path = {forms:?}"))
        .rule("/", "everyone")
        .rule(closed, "nobody")
        .start()
        .await;
    let mut raw = gate.raw().await;
    for spelling in spellings {
        let end = &b" HTTP/1.1\r\nHost: gate.test\r\n\r\n"[..];
        raw.send([b"GET ", &spelling[..], end].concat()).await;
        let reply = raw.response().await;
        if reply.value("connection") == Some("close") || reply.status == 400 {
            raw = gate.raw().await;
        }
    }
    let received = app.received();
    received.iter().map(|one| one.target().to_owned()).collect()
}

/// A server with the file, and with pages that everybody may see.
struct Reader {
    name: &'static str,
    address: SocketAddr,
    _program: Program,
}

impl Reader {
    async fn start(name: &'static str, folder: &Path) -> Option<Self> {
        let file = real::find(name)?;
        let address = held_port();
        let root = folder.join("www");
        let root = root.display();
        let mut command = Command::new(file);
        match name {
            "nginx" => {
                let config = format!(
                    "daemon off; master_process off; error_log stderr; pid {0}/nginx.pid;\n\
                     events {{}}\nhttp {{ access_log off; client_body_temp_path {0}/t;\n\
                     proxy_temp_path {0}/t; fastcgi_temp_path {0}/t; uwsgi_temp_path {0}/t;\n\
                     scgi_temp_path {0}/t;\nserver {{ listen {address}; root {root}; }} }}\n",
                    folder.display()
                );
                fs::write(folder.join("nginx.conf"), config).unwrap();
                command
                    .arg("-p")
                    .arg(folder)
                    .arg("-c")
                    .arg(folder.join("nginx.conf"));
            }
            "apache2" => {
                let modules = ["mpm_event", "authz_core", "dir"];
                let modules = modules.map(|module| {
                    format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n")
                });
                let config = format!(
                    "ServerRoot {0}\nServerName localhost\nListen {address}\n{1}\
                     PidFile {0}/apache.pid\nErrorLog {0}/apache.log\nDefaultRuntimeDir {0}\n\
                     User www-data\nGroup www-data\nDocumentRoot {root}\nAllowEncodedSlashes On\n\
                     <Directory {root}>\nRequire all granted\n</Directory>\n",
                    folder.display(),
                    modules.concat()
                );
                fs::write(folder.join("apache.conf"), config).unwrap();
                command
                    .args(["-DFOREGROUND", "-f"])
                    .arg(folder.join("apache.conf"));
            }
            "python3" => {
                fs::write(folder.join("app.py"), include_str!("path_readers/app.py")).unwrap();
                command
                    .arg(folder.join("app.py"))
                    .arg(address.port().to_string());
            }
            _ => {
                fs::write(folder.join("app.js"), include_str!("path_readers/app.js")).unwrap();
                command
                    .arg(folder.join("app.js"))
                    .arg(address.port().to_string());
            }
        }
        let mut program = Program::spawn(command);
        program.wait_for_port(address).await;
        let reader = Self {
            name,
            address,
            _program: program,
        };
        let shown = reader.ask("/admin/secret.txt").await;
        assert!(shown.contains(SECRET), "{name}: {shown}");
        let shown = reader.ask("/public.txt").await;
        assert!(!shown.contains(SECRET), "{name}: {shown}");
        Some(reader)
    }

    /// What it answers to exactly this target.
    async fn ask(&self, target: &str) -> String {
        let mut raw = Raw::new(TcpStream::connect(self.address).await.unwrap());
        raw.send(format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
        .await;
        raw.rest().await
    }
}

#[tokio::test]
async fn sec_93_no_server_reads_what_passes_as_what_is_closed() {
    let spellings = spellings();
    let single = FORMS.map(|form| vec![form]);
    let choices = [vec![], FORMS.to_vec()].into_iter().chain(single);
    let passed = join_all(choices.map(async |forms| {
        // A folder, and a single file: what follows the name counts there.
        let of_folder = passed(&forms, "/admin", &spellings).await;
        let of_file = passed(&forms, "/admin/secret.txt", &spellings).await;
        let both = (of_folder.len(), of_file.len());
        assert!(both.0 >= 8 && both.1 > both.0, "{forms:?}: {both:?} pass");
        of_folder.into_iter().chain(of_file)
    }))
    .await;
    let all: BTreeSet<_> = passed.into_iter().flatten().collect();

    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(folder.path().join("www/admin")).unwrap();
    fs::write(folder.path().join("www/admin/secret.txt"), SECRET).unwrap();
    fs::write(folder.path().join("www/public.txt"), "public").unwrap();
    let mut readers = Vec::new();
    for name in ["nginx", "apache2", "python3", "node"] {
        readers.extend(Reader::start(name, folder.path()).await);
    }
    for reader in &readers {
        for target in &all {
            let shown = reader.ask(target).await;
            let name = reader.name;
            assert!(
                !shown.contains(SECRET),
                "{name} shows it for {target}: {shown}"
            );
        }
        if ["python3", "node"].contains(&reader.name) {
            let shown = reader.ask("/x/%252e%252e%255Cadmin;y/secret.txt").await;
            assert!(shown.contains(SECRET), "{} reads in every way", reader.name);
        }
    }
}
