//! A registry of images, by the requests of Docker's client.

use sha2::{Digest, Sha256};

use super::*;

fn digest(blob: &[u8]) -> String {
    let hex = Sha256::digest(blob)
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("sha256:{hex}")
}

/// Where an upload goes on.
fn location(head: &str) -> String {
    let mut lines = head.lines();
    let line = lines.find(|line| line.to_ascii_lowercase().starts_with("location:"));
    let line = line.unwrap_or_else(|| panic!("no Location in {head}"));
    line.split_once(':').unwrap().1.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pushed_and_pulled_with_a_token() {
    let (Some(registry), Some(curl)) = (real::find("docker-registry"), real::find("curl")) else {
        return;
    };
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let data = folder.path().join("data").display().to_string();
    let config = format!(
        "version: 0.1\nhttp:\n  addr: {address}\nstorage:\n  filesystem:\n    \
         rootdirectory: {data}\n"
    );
    fs::write(folder.path().join("config.yml"), config).unwrap();
    let mut command = Command::new(registry);
    command.arg("serve").arg(folder.path().join("config.yml"));
    let app = real::App::start(command, address, folder).await;
    let mut gate = before(&app.url()).start().await;
    let token = token(&mut gate, &[]);
    let home = Home::of(&gate);
    let origin = origin(&gate);
    let layer = home.write("layer", vec![7; 300_000]);
    let config = home.write("config", "{}");
    let ask = async |secret: &str, args: &[&str]| {
        let pair = format!("ada:{secret}");
        let usual = ["-fsS", "-u", &pair, "--http1.1", "-i"];
        home.done(&curl, &[&usual, args].concat()).await
    };

    // Docker asks first, and sends what it has where it is told that Basic is taken.
    let url = format!("{origin}/v2/");
    let (done, said) = home.run(&curl, &["-sSi", "--http1.1", &url]).await;
    assert!(done && said.starts_with("HTTP/1.1 401 "), "{said}");
    let said = said.to_ascii_lowercase();
    assert!(said.contains("www-authenticate: basic realm="), "{said}");

    for (n, secret) in [&*token, PASSWORD].into_iter().enumerate() {
        ask(secret, &[&url]).await;
        let repository = format!("{origin}/v2/team/wiki{n}");
        let mut digests = Vec::new();
        for (file, path) in [("layer", &layer), ("config", &config)] {
            let begin = format!("{repository}/blobs/uploads/");
            let next = location(&ask(secret, &["-X", "POST", &begin]).await);
            assert!(next.starts_with(&repository), "{next}");
            let kind = "content-type: application/octet-stream";
            let piece = ["-X", "PATCH", "-H", kind, "-T", file, &next];
            let next = location(&ask(secret, &piece).await);
            let digest = digest(&fs::read(path).unwrap());
            let end = format!("{next}&digest={digest}");
            ask(secret, &["-X", "PUT", "-d", "", &end]).await;
            digests.push(digest);
        }
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": kind,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": 2, "digest": digests[1],
            },
            "layers": [{
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "size": 300_000, "digest": digests[0],
            }],
        });
        home.write("manifest", manifest.to_string());
        let tag = format!("{repository}/manifests/latest");
        let field = format!("content-type: {kind}");
        ask(secret, &["-H", &field, "-T", "manifest", &tag]).await;

        let pulled = ask(secret, &["-H", &format!("accept: {kind}"), &tag]).await;
        assert!(pulled.contains(&digests[0]), "{pulled}");
        let blob = format!("{repository}/blobs/{}", digests[0]);
        let pair = format!("ada:{secret}");
        home.done(&curl, &["-fsS", "-L", "-u", &pair, "-o", "pulled", &blob])
            .await;
        assert_eq!(
            fs::read(home.path("pulled")).unwrap(),
            fs::read(&layer).unwrap()
        );
    }
    revoke(&mut gate);
    let pair = format!("ada:{token}");
    let (done, said) = home.run(&curl, &["-fsS", "-u", &pair, &url]).await;
    assert!(!done && said.contains("401"), "{said}");
}
