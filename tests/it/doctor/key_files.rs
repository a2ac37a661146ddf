//! Certificates and keys as operators bring them: each is read, or it is said what it is and which
//! command converts it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tls::Certificate;

use super::{Checked, before};
use crate::harness::*;

/// Runs a script in the folder of the files.
fn sh(files: &Files, script: &str) {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(files.path(""));
    let (code, stdout, stderr) = run_to_end(&mut command, "");
    assert_eq!(code, Some(0), "{script}\n{stdout}{stderr}");
}

/// As it stands between backticks, with what people type: the passphrase.
fn told_command(checked: &Checked) -> String {
    let (_, told) = checked.stdout.split_once("do `").expect(&checked.stdout);
    let (told, _) = told.split_once('`').unwrap();
    told.replace("openssl pkey ", "openssl pkey -passin pass:secret ")
        .replace("openssl pkcs12 ", "openssl pkcs12 -passin pass:secret ")
        .replace("ssh-keygen -p ", "ssh-keygen -p -P secret ")
        .replace(
            "keytool ",
            "keytool -srcstorepass secret -deststorepass secret ",
        )
}

/// A gate with a pair that fits, made by OpenSSL: `rsa.key`, `rsa.pem`.
fn prepared(app: &Upstream) -> Files {
    let files = before(app).write();
    sh(
        &files,
        "umask 077\n\
         openssl genrsa -traditional -out rsa.key 2048\n\
         openssl req -x509 -key rsa.key -out rsa.pem -days 90 -subj /CN=gate.test -addext \
         subjectAltName=DNS:gate.test\n\
         openssl pkcs12 -export -inkey rsa.key -in rsa.pem -passout pass:secret -out both.p12\n\
         cp rsa.pem cert.pem; cp rsa.key key.pem",
    );
    files
}

const IN_OTHER_FORMS: [(&str, &str, &str); 16] = [
    (
        "key.pem",
        "openssl rsa -aes128 -passout pass:secret -traditional -in rsa.key -out key.pem",
        "its key is encrypted, and nobody types the passphrase when the service starts",
    ),
    (
        "key.pem",
        "openssl pkcs8 -topk8 -passout pass:secret -in rsa.key -out key.pem",
        "its key is encrypted, and",
    ),
    (
        "key.pem",
        "openssl pkcs8 -topk8 -passout pass:secret -in rsa.key -outform DER -out key.pem",
        "its key is encrypted DER, and",
    ),
    (
        "key.pem",
        "openssl rsa -traditional -in rsa.key -outform DER -out key.pem",
        "its key is DER, not PEM",
    ),
    (
        "key.pem",
        "openssl pkcs8 -topk8 -nocrypt -in rsa.key -outform DER -out key.pem",
        "its key is DER, not PEM",
    ),
    ("key.pem", "cp both.p12 key.pem", "this is PKCS #12"),
    (
        "key.pem",
        "cp rsa.key key.pem; ssh-keygen -q -p -N secret -f key.pem",
        "this is a key of OpenSSH",
    ),
    (
        "key.pem",
        "base64 rsa.key > key.pem",
        "it is PEM in Base64, as in a Secret of Kubernetes",
    ),
    (
        "key.pem",
        "(printf '\\357\\273\\277'; cat rsa.key) | iconv -f UTF-8 -t UTF-16 > key.pem",
        "it is UTF-16 text",
    ),
    (
        "cert.pem",
        "openssl x509 -in rsa.pem -outform DER -out cert.pem",
        "its certificate is DER, not PEM",
    ),
    ("cert.pem", "cp both.p12 cert.pem", "this is PKCS #12"),
    (
        "cert.pem",
        "openssl crl2pkcs7 -nocrl -certfile rsa.pem -out cert.pem",
        "its certificates are PKCS #7 (.p7b), not PEM",
    ),
    (
        "cert.pem",
        "openssl crl2pkcs7 -nocrl -certfile rsa.pem -outform DER -out cert.pem",
        "its certificates are PKCS #7 (.p7b), not PEM",
    ),
    (
        "cert.pem",
        "openssl x509 -in rsa.pem -trustout -out cert.pem",
        "its certificate begins with another line than -----BEGIN CERTIFICATE-----",
    ),
    (
        "cert.pem",
        "sed 's/BEGIN CERT/BEGIN X509 CERT/;s/END CERT/END X509 CERT/' rsa.pem > cert.pem",
        "its certificate begins with another line",
    ),
    (
        "cert.pem",
        "iconv -f UTF-8 -t UTF-16LE rsa.pem > cert.pem",
        "it is UTF-16 text",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_in_other_forms_are_named_with_the_command_that_makes_pem_of_them() {
    if ["openssl", "ssh-keygen", "iconv"]
        .iter()
        .any(|name| real::find(name).is_none())
    {
        return;
    }
    let app = Upstream::echo().await;
    let files = prepared(&app);
    Checked::of(&files).is_ok(&[]);
    let config = fs::read_to_string(files.path("config.toml")).unwrap();
    for (file, made_by, said) in IN_OTHER_FORMS {
        sh(&files, &format!("umask 077; {made_by}; chmod 600 {file}"));
        let checked = Checked::of(&files);
        checked.is_refused(&[&format!("config.toml:3: error: {file}: {said}")]);
        let (code, _, error) = run(&files, &["serve"]);
        assert!(code == Some(78) && error.contains(said), "{error}");

        // And with what the command makes, it starts.
        sh(&files, &format!("umask 022; {}", told_command(&checked)));
        let new = match file {
            "key.pem" => "key-key.pem",
            _ => "cert-chain.pem",
        };
        let mended = config.replace(file, new);
        files.write("config.toml", &mended, 0o644);
        Checked::of(&files).is_ok(&[]);
        files.write("config.toml", &config, 0o644);
        sh(
            &files,
            "cp rsa.pem cert.pem; cp rsa.key key.pem; rm -f key-key.pem cert-chain.pem",
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_place_of_a_certificate_or_a_key_is_said() {
    if real::find("openssl").is_none() {
        return;
    }
    let app = Upstream::echo().await;
    let files = prepared(&app);
    for (made_by, said) in [
        (
            "cp rsa.key cert.pem",
            "cert.pem: there is no certificate in it, but a private key\n      \
          help: name the file with the certificate in `cert`; if `key` names it, exchange the two",
        ),
        (
            "cp rsa.pem key.pem",
            "key.pem: there is no private key in it, but a certificate\n      \
          help: name the file with the private key in `key`; if `cert` names it, exchange the two",
        ),
        (
            "openssl req -new -key rsa.key -subj /CN=gate.test -out cert.pem",
            "cert.pem: there is no certificate in it, but a request for a certificate (CSR)\n      \
             help: send it to the authority, and put the certificate there that comes back",
        ),
        (
            "openssl req -new -key rsa.key -subj /CN=gate.test -outform DER -out cert.pem",
            "cert.pem: there is no certificate in it, but a request for a certificate (CSR)",
        ),
        (
            "openssl pkey -in rsa.key -pubout -out key.pem",
            "key.pem: there is no private key in it, but a public key\n      help: name the file \
             with the private key",
        ),
        (
            "openssl pkey -in rsa.key -pubout -outform DER -out key.pem",
            "key.pem: there is no private key in it, but a public key",
        ),
        (
            "openssl ecparam -name prime256v1 -out key.pem",
            "but parameters of keys",
        ),
        (": > key.pem", "key.pem: it is empty"),
        (
            "head -c 100 /dev/zero > cert.pem",
            "cert.pem: there is no certificate in it: this is no PEM",
        ),
        (
            "head -n 5 rsa.pem > cert.pem",
            "cert.pem: its certificate cannot be read: ",
        ),
        (
            "openssl genrsa -out key.pem 2048",
            "key.pem: this is not the key of cert.pem",
        ),
    ] {
        sh(&files, &format!("umask 077; {made_by}"));
        Checked::of(&files).is_refused(&[said]);
        sh(&files, "cp rsa.pem cert.pem; cp rsa.key key.pem");
    }
}

/// Keys that neither browsers nor we take, with the command for another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_tls_does_not_take_are_told_by_their_kind() {
    if real::find("openssl").is_none() {
        return;
    }
    let app = Upstream::echo().await;
    let files = prepared(&app);
    for (algorithm, kind) in [
        ("rsa -pkeyopt rsa_keygen_bits:1024", "RSA with 1024 bits"),
        (
            "ec -pkeyopt ec_paramgen_curve:secp256k1",
            "of the elliptic curve secp256k1",
        ),
        (
            "ec -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
            "of an elliptic curve without a name",
        ),
        ("ed448", "Ed448"),
        ("rsa-pss", "RSA for PSS only"),
    ] {
        sh(
            &files,
            &format!(
                "umask 077; openssl genpkey -algorithm {algorithm} -out key.pem\n\
                 openssl req -x509 -key key.pem -out cert.pem -days 90 -subj /CN=gate.test -addext \
                 subjectAltName=DNS:gate.test,IP:192.0.2.1"
            ),
        );
        let checked = Checked::of(&files);
        let said = format!("error: key.pem: the key is {kind}, which TLS here does not take");
        checked.is_refused(&[&said]);
        let (_, told) = checked.stdout.split_once("make a new one with `").unwrap();
        let (told, rest) = told.split_once('`').unwrap();
        assert!(
            rest.starts_with(", and have a certificate made of key-key.csr"),
            "{rest}"
        );
        sh(&files, told);
        let mode = fs::metadata(files.path("key-key.pem"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        sh(
            &files,
            "openssl x509 -req -in key-key.csr -signkey key-key.pem -copy_extensions copy -days 90 \
             -out cert.pem; mv key-key.pem key.pem",
        );
        Checked::of(&files).is_ok(&[]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_in_the_wrong_order_is_told_with_the_command_that_orders_it() {
    let app = Upstream::echo().await;
    let files = before(&app).write();
    let certificate = Certificate::signed(&["gate.test"]);
    files.write("key.pem", &certificate.key, 0o600);
    let other = tls::certificate();
    for (chain, said) in [
        (
            [&*certificate.authority, &certificate.cert].concat(),
            "error: key.pem: this is the key of certificate 2 in cert.pem",
        ),
        (
            [&*certificate.authority, &other.cert_pem, &certificate.cert].concat(),
            "error: key.pem: this is the key of certificate 3 in cert.pem",
        ),
        (
            [&*certificate.cert, &other.cert_pem, &certificate.authority].concat(),
            "did not sign certificate 1",
        ),
    ] {
        files.write("cert.pem", &chain, 0o644);
        let checked = Checked::of(&files);
        assert!(checked.stdout.contains(said), "{}", checked.stdout);
        sh(
            &files,
            &format!("{}; mv cert-chain.pem cert.pem", told_command(&checked)),
        );
        Checked::of(&files).is_ok(&[]);
    }
}

/// With it Windows begins its text files; `cat` leaves it in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn byte_order_marks_are_forgiven() {
    let files = Vestibule::before_url("https://127.0.0.1:1")
        .app("name = \"wiki\"\nhost = \"gate.test\"\nupstream_ca = \"ca.pem\"")
        .user("ada", PASSWORD)
        .write();
    let certificate = Certificate::signed(&["gate.test"]);
    files.write("ca.pem", &certificate.authority, 0o644);
    let chain = format!(
        "{}\u{feff}{}",
        certificate.cert.trim_end(),
        certificate.authority
    );
    files.write("cert.pem", &chain, 0o644);
    files.write("key.pem", &certificate.key, 0o600);
    for name in ["ca.pem", "cert.pem", "config.toml", "key.pem", "users.toml"] {
        let path = files.path(name);
        let content = fs::read_to_string(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        files.write(name, &format!("\u{feff}{content}"), mode);
    }
    Checked::of(&files).is_ok(&["nothing listens at https://127.0.0.1:1"]);

    // A place in the configuration is where an editor shows it.
    let config = fs::read_to_string(files.path("config.toml")).unwrap();
    files.write(
        "config.toml",
        &config.replacen("[server]", "[sever]", 1),
        0o644,
    );
    let (_, _, error) = run(&files, &["check"]);
    assert!(error.contains("config.toml:1:2: unknown"), "{error}");
    files.write("config.toml", &config, 0o644);

    // And commands change a users file that has one.
    let (code, _, error) = run(&files, &["user", "disable", "ada"]);
    assert_eq!(code, Some(0), "{error}");
    let users = fs::read_to_string(files.path("users.toml")).unwrap();
    assert!(users.contains("disabled = true"), "{users}");
}

/// Neither is guessed at: the command says what is converted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_in_other_encodings_is_told_with_the_command_that_converts_it() {
    if real::find("iconv").is_none() {
        return;
    }
    let app = Upstream::echo().await;
    let files = before(&app).write();
    for (name, encoding, said) in [
        ("users.toml", "UTF-16", "it is UTF-16 text"),
        ("users.toml", "ISO-8859-1", "it is no UTF-8 text"),
        ("config.toml", "UTF-16", "it is UTF-16 text"),
        ("config.toml", "ISO-8859-1", "it is no UTF-8 text"),
    ] {
        let path = files.path(name);
        let mode = fs::metadata(&path).unwrap().permissions();
        let right = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("# J\u{fc}rgen\n{right}")).unwrap();
        sh(
            &files,
            &format!("iconv -f UTF-8 -t {encoding} {name} > wrong; cat wrong > {name}"),
        );
        let (code, stdout, stderr) = run(&files, &["check"]);
        let told = stdout + &stderr;
        assert!(code == Some(78) && told.contains(said), "{told}");
        let (_, command) = told.split_once("convert it with `").expect(&told);
        let (command, _) = command.split_once('`').unwrap();
        sh(&files, &format!("{command}; cat {name}.utf8 > {name}"));
        assert_eq!(
            fs::read_to_string(&path)
                .unwrap()
                .trim_start_matches('\u{feff}'),
            format!("# J\u{fc}rgen\n{right}")
        );
        let (code, stdout, stderr) = run(&files, &["check"]);
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        fs::write(&path, right).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode.mode())).unwrap();
    }
}
