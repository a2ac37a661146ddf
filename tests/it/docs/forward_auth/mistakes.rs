use super::*;

/// In the place of what the page has.
type Mistake = fn(&mut Blocks);

fn in_caddy(blocks: &mut Blocks) {
    let own = "\t\t\theader_up Host {hostport}\n";
    let trusting = "\t\t\theader_up Host {hostport}\n\t\t\ttrusted_proxies 127.0.0.0/8\n";
    change(&mut blocks.caddy, own, trusting);
}

fn in_envoy(blocks: &mut Blocks) {
    change(
        &mut blocks.envoy,
        "use_remote_address: true",
        "use_remote_address: false",
    );
}

fn in_haproxy(blocks: &mut Blocks) {
    let text = &mut blocks.haproxy;
    change(text, "x-forwarded-.*|", "x-forwarded-host|");
    change(
        text,
        "http-request set-header X-Forwarded-For %[src]",
        "http-request set-header X-Elsewhere %[src]",
    );
}

fn in_traefik(blocks: &mut Blocks) {
    let entry = "    address: \":443\"\n";
    let trusting = "    address: \":443\"\n    forwardedHeaders:\n      insecure: true\n";
    change(&mut blocks.traefik[0], entry, trusting);
}

fn change(text: &mut String, documented: &str, instead: &str) {
    assert!(text.contains(documented), "{documented} in {text}");
    *text = text.replacen(documented, instead, 1);
}

/// nginx has its own, because it can be told of a change.
#[tokio::test(flavor = "multi_thread")]
async fn what_clients_can_choose_by_a_mistake_is_found_behind_each_proxy() {
    let mistakes: [(Front, Mistake, &str); 4] = [
        (
            Front::Caddy,
            in_caddy,
            "Caddy needs: no `trusted_proxies` in the Caddyfile",
        ),
        (
            Front::Envoy,
            in_envoy,
            "Envoy needs: use_remote_address: true",
        ),
        (
            Front::Haproxy,
            in_haproxy,
            "http-request set-header X-Forwarded-For %[src]",
        ),
        (
            Front::Traefik,
            in_traefik,
            "Traefik needs: no `forwardedHeaders.insecure`",
        ),
    ];
    for (front, mistake, help) in mistakes {
        if !front.is_here() {
            continue;
        }
        let mut blocks = Blocks::read();
        mistake(&mut blocks);
        let mut behind = Behind::start(&blocks).await;
        let _program = front.start(&blocks, &mut behind).await;
        let check = format!("{} --connect-to {}", behind.check, behind.front);
        let (code, out, said) = behind.desk.try_run(&check).await;
        assert_eq!(code, Some(1), "{front:?}: {out}{said}");
        let found = "error: address of the client: ";
        assert!(out.contains(found), "{front:?}: {out}{said}");
        assert!(out.contains(help), "{front:?}: {out}{said}");
    }
}
