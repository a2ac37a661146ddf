//! What clients can choose by a mistake where a proxy forwards everything; nginx is told of each of its own.

use super::*;

struct Mistake {
    documented: &'static str,
    instead: &'static str,
    /// What is open, what has shown it, and how to close it.
    said: [&'static str; 3],
}

impl Mistake {
    fn in_text(&self, text: &str) -> String {
        assert!(text.contains(self.documented), "{text}");
        text.replace(self.documented, self.instead)
    }
}

/// HAProxy and Traefik do not say their names.
#[tokio::test]
async fn a_mistake_of_each_other_proxy_is_found() {
    let parts = ["caddy", "traefik", "envoy", "haproxy"];
    if parts.iter().any(|part| real::find(part).is_none()) {
        return;
    }
    let mut page = the_page();
    let app = Upstream::echo().await;
    let (mut desk, address) = desk(&mut page, &app);
    desk.run(&page.next("sh")).await;
    let _served = desk.serve(address).await;
    page.next("nginx");
    page.next("sh");
    let site = page.next("caddyfile");
    page.next("sh");
    let [main, routers] = ["yaml"; 2].map(|language| page.next(language));
    let listener = page.next("yaml");
    page.next("sh");
    let sections = page.next("haproxy");
    page.next("sh");
    let check = page.next("sh");
    for of_proxy_protocol in ["toml", "nginx", "sh"] {
        page.next(of_proxy_protocol);
    }

    let mistake = Mistake {
        documented: "header_up X-Request-Id {http.request.uuid}",
        instead: "",
        said: [
            "error: request id: ",
            "`X-Request-Id: spoofed`",
            "Caddy needs: header_up X-Request-Id {http.request.uuid}",
        ],
    };
    let front = caddy(&desk, &mistake.in_text(&site));
    let start = "exec caddy run --config /etc/caddy/Caddyfile";
    is_found(&desk, (start, front), &check, &mistake).await;

    let mistake = Mistake {
        documented: "          X-Request-Id: \"\"\n",
        instead: "          X-Elsewhere: \"\"\n",
        said: [
            "error: request id: ",
            "`X-Request-Id: spoofed`",
            "in Traefik X-Request-Id: \"\" in `customRequestHeaders`",
        ],
    };
    let front = traefik(&mut desk, &main, &mistake.in_text(&routers));
    let start = "exec traefik --configfile=/etc/traefik/traefik.yml";
    is_found(&desk, (start, front), &check, &mistake).await;

    let mistake = Mistake {
        documented: "use_remote_address: true",
        instead: "use_remote_address: false",
        said: [
            "error: address of the client: ",
            "`X-Forwarded-For: 192.0.2.66`",
            "Envoy needs: `use_remote_address: true`",
        ],
    };
    let front = envoy(&mut desk, address, &mistake.in_text(&listener));
    let start = "exec envoy --use-dynamic-base-id --concurrency 1 -c /etc/envoy/envoy.yaml";
    is_found(&desk, (start, front), &check, &mistake).await;

    let mistake = Mistake {
        documented: "    http-request set-header X-Forwarded-For %[src]\n",
        instead: "",
        said: [
            "error: address of the client: ",
            "`X-Forwarded-For: 192.0.2.66`",
            "the proxy in front needs: X-Forwarded-For set to the address of its client",
        ],
    };
    let front = haproxy(&mut desk, &mistake.in_text(&sections));
    let start = "exec haproxy -db -f /etc/haproxy/haproxy.cfg";
    is_found(&desk, (start, front), &check, &mistake).await;
}

async fn is_found(desk: &Desk, (start, front): (&str, SocketAddr), check: &str, it: &Mistake) {
    let mut program = desk.start(start);
    program.wait_for_port(front).await;
    is_there(front).await;
    let check = format!("{} --connect-to {front}", check.trim_end());
    let (code, out, said) = desk.try_run(&check).await;
    assert_eq!(code, Some(1), "{out}{said}");
    assert!(out.contains("forwards to `listen`"), "{out}");
    for said in it.said {
        assert!(out.contains(said), "{said} in\n{out}");
    }
}
