//! What clients can choose by a mistake in each of the configurations, and what `check --through` says of it.

use super::*;

/// Something in the place of what the page has.
struct Mistake {
    make: fn(&mut Blocks),
    /// What is open, what has shown it, and how to close it.
    said: &'static [&'static str],
}

const CLOSED: &str = "clients choose nothing";
const LOGIN_MISSING: &str = "error: login: ";
const UNASKED: &str = "error: requests that Vestibule never sees: ";

fn change(text: &mut String, documented: &str, instead: &str) {
    assert!(text.contains(documented), "{documented} in {text}");
    *text = text.replacen(documented, instead, 1);
}

/// As the page has it, but for one mistake after the other.
async fn are_found(front: Front, mistakes: &[Mistake]) {
    if !front.is_here() {
        return;
    }
    let right = Blocks::read();
    let mut behind = Behind::start(&right).await;
    for mistake in mistakes {
        let mut blocks = right.clone();
        (mistake.make)(&mut blocks);
        // Our pages may be out of reach on the host of the app. No login is on the other one yet.
        let ready = (LOGIN, 421);
        let _program = front.start_for(&blocks, &mut behind, ready).await;
        let check = format!("{} --connect-to {}", behind.check, behind.front);
        let (code, out, said) = behind.desk.try_run(&check).await;
        let is_open = !mistake.said.contains(&CLOSED);
        assert_eq!(code, Some(i32::from(is_open)), "{front:?}: {out}{said}");
        for said in mistake.said {
            assert!(out.contains(said), "{front:?}: {said} in\n{out}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_caddy_is_found() {
    let mistakes = [
        Mistake {
            make: |blocks| {
                let text = &mut blocks.caddy;
                change(text, "\t\trequest_header -X-Forwarded-*\n", "");
                let trusting = "\t\t\turi /caddy\n\t\t\ttrusted_proxies 127.0.0.0/8\n";
                change(text, "\t\t\turi /caddy\n", trusting);
            },
            said: &[
                "error: host: ",
                "`X-Forwarded-Host: spoofed.invalid`",
                "Caddy needs: no `trusted_proxies` in the Caddyfile that the network of clients is in",
            ],
        },
        Mistake {
            make: |blocks| {
                let ours = "reverse_proxy /.vestibule/* https";
                change(&mut blocks.caddy, ours, "reverse_proxy /elsewhere/* https");
            },
            said: &[
                LOGIN_MISSING,
                "`/.vestibule/session`",
                "reverse_proxy /.vestibule/* https://127.0.0.1:8443",
            ],
        },
        Mistake {
            make: |blocks| {
                let asks = "\t\tforward_auth 127.0.0.1:9091 {\n";
                let open = format!("\t\trespond /a/* 200\n{asks}");
                change(&mut blocks.caddy, asks, &open);
            },
            said: &[
                UNASKED,
                "`/a/`",
                "`forward_auth` before everything that answers",
            ],
        },
        Mistake {
            make: |blocks| {
                let tidy = "\troute {\n\t\turi path_regexp /\\./ /\n";
                change(&mut blocks.caddy, "\troute {\n", tidy);
            },
            said: &["changed  /a/./b into /a/b\n", CLOSED],
        },
    ];
    Box::pin(are_found(Front::Caddy, &mistakes)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_traefik_is_found() {
    let mistakes = [
        Mistake {
            make: |blocks| {
                let [main, site] = &mut blocks.traefik;
                let entry = "    address: \":443\"\n";
                let trusting = format!("{entry}    forwardedHeaders:\n      insecure: true\n");
                change(main, entry, &trusting);
                let asks = "        preserveLocationHeader: true\n";
                let trusting = format!("{asks}        trustForwardHeader: true\n");
                change(site, asks, &trusting);
            },
            said: &[
                "error: host: ",
                "`X-Forwarded-Host: spoofed.invalid`",
                "error: method: ",
                "`X-Forwarded-Method: DELETE`",
                "error: path: ",
                "`X-Forwarded-Uri: /spoofed`",
                "Traefik needs: no `trustForwardHeader` in the middleware that asks",
            ],
        },
        Mistake {
            make: |blocks| {
                let [_, site] = &mut blocks.traefik;
                change(
                    site,
                    "PathPrefix(`/.vestibule/`)",
                    "PathPrefix(`/elsewhere/`)",
                );
            },
            said: &[
                LOGIN_MISSING,
                "`/.vestibule/session`",
                "PathPrefix(`/.vestibule/`)",
            ],
        },
        Mistake {
            make: |blocks| {
                let [_, site] = &mut blocks.traefik;
                let next = "    wiki-vestibule:\n";
                let open = format!(
                    "    open:\n      rule: Host(`{HOST}`) && PathPrefix(`/a/`)\n      \
                     middlewares: [no-forged-names, no-upgrade]\n      service: wiki\n      \
                     tls: {{}}\n{next}"
                );
                change(site, next, &open);
            },
            said: &[
                UNASKED,
                "`/a/`",
                "the middleware `vestibule` in each router of this host",
            ],
        },
    ];
    Box::pin(are_found(Front::Traefik, &mistakes)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_envoy_is_found() {
    let mistakes = [
        Mistake {
            make: |blocks| {
                let own = "use_remote_address: true";
                change(&mut blocks.envoy, own, "use_remote_address: false");
            },
            said: &[
                "error: address of the client: ",
                "`X-Forwarded-For: 192.0.2.66`",
                "Envoy needs: use_remote_address: true",
            ],
        },
        Mistake {
            make: |blocks| {
                let ours = "match: { prefix: /.vestibule/ }";
                change(&mut blocks.envoy, ours, "match: { prefix: /elsewhere/ }");
            },
            said: &[
                LOGIN_MISSING,
                "`/.vestibule/session`",
                "match: { prefix: /.vestibule/ }",
            ],
        },
        Mistake {
            make: |blocks| {
                let route = "                        - match: { prefix: / }\n                          \
                             route: { cluster: wiki";
                let open = format!(
                    "                        - match: {{ prefix: /a/ }}\n                          \
                     direct_response: {{ status: 200 }}\n                          \
                     typed_per_filter_config:\n                            \
                     envoy.filters.http.ext_authz:\n                              \
                     \"@type\": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute\n                              \
                     disabled: true\n{route}"
                );
                change(&mut blocks.envoy, route, &open);
            },
            said: &[UNASKED, "`/a/`", "no route with `disabled: true`"],
        },
        Mistake {
            make: |blocks| {
                let own = "                use_remote_address: true\n";
                let tidy = format!(
                    "{own}                normalize_path: true\n                merge_slashes: true\n"
                );
                change(&mut blocks.envoy, own, &tidy);
            },
            said: &[
                "changed  /a/./b into /a/b\n",
                "changed  /a/%2e%2e/b into /b\n",
                CLOSED,
            ],
        },
    ];
    Box::pin(are_found(Front::Envoy, &mistakes)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_haproxy_is_found() {
    let mistakes = [
        Mistake {
            make: |blocks| {
                let text = &mut blocks.haproxy;
                change(text, "x-forwarded-.*|", "x-forwarded-host|");
                let sets = "    http-request set-header X-Forwarded-For %[src]\n";
                change(text, sets, "");
            },
            said: &[
                "error: address of the client: ",
                "`X-Forwarded-For: 192.0.2.66, at /.vestibule/session`",
                "http-request set-header X-Forwarded-For %[src]",
            ],
        },
        Mistake {
            make: |blocks| {
                change(&mut blocks.haproxy, "x-rewrite-url|", "");
                let read = "= { txn.sf:pathq() }";
                let believing = "= headers[\"x-rewrite-url\"] or { txn.sf:pathq() }";
                change(&mut blocks.lua, read, believing);
            },
            said: &[
                "error: path: ",
                "`X-Rewrite-URL: /spoofed`",
                "HAProxy needs: headers[\"x-original-uri\"] = { txn.sf:pathq() }",
            ],
        },
        Mistake {
            make: |blocks| {
                let ours = "if { path_beg /.vestibule/ }";
                change(&mut blocks.haproxy, ours, "if { path_beg /elsewhere/ }");
            },
            said: &[
                LOGIN_MISSING,
                "`/.vestibule/session`",
                "use_backend vestibule if { path_beg /.vestibule/ }",
            ],
        },
        Mistake {
            make: |blocks| {
                let next = "    use_backend vestibule if { path_beg";
                let open =
                    format!("    http-request return status 200 if {{ path_beg /a/ }}\n{next}");
                change(&mut blocks.haproxy, next, &open);
            },
            said: &[UNASKED, "`/a/`", "both lines with `http-request`"],
        },
        Mistake {
            make: |blocks| {
                let text = &mut blocks.haproxy;
                change(
                    text,
                    "global\n",
                    "global\n    expose-experimental-directives\n",
                );
                let first = "    http-request del-header [^a-zA-Z0-9-] -m reg\n";
                let tidy = format!("{first}    http-request normalize-uri path-strip-dot\n");
                change(text, first, &tidy);
            },
            said: &["changed  /a/./b into /a/b\n", CLOSED],
        },
    ];
    Box::pin(are_found(Front::Haproxy, &mistakes)).await;
}
