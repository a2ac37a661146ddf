use super::*;

const EFFECTS: [Effect; 7] = [
    Effect::Client,
    Effect::Host,
    Effect::Method,
    Effect::Path,
    Effect::Unasked,
    Effect::OwnPages,
    Effect::RequestId,
];
const PRODUCTS: [Product; 6] = [
    Product::Nginx,
    Product::Caddy,
    Product::Traefik,
    Product::Envoy,
    Product::Haproxy,
    Product::Unknown,
];

#[test]
fn each_finding_says_what_each_proxy_needs() {
    for (effect, product) in EFFECTS
        .into_iter()
        .flat_map(|it| PRODUCTS.map(|of| (it, of)))
    {
        for by_forward_auth in [false, true] {
            let (message, help) = of(effect, product, by_forward_auth);
            let proxy = product.name().unwrap_or("the proxy in front");
            let line = help.strip_prefix(&format!("{proxy} needs: ")).expect(&help);
            assert!(line.len() > 20, "{help}");
            assert!(!message.is_empty() && !help.contains(message), "{help}");
        }
    }
}

/// Where a line of the configuration is quoted, it stands on the page as it is here.
#[test]
fn what_is_to_be_written_for_forward_auth_stands_in_the_configurations_of_the_page() {
    let page = include_str!("../../../../../../docs/forward-auth.md");
    for (effect, product, lines) in [
        (
            Effect::Client,
            Product::Nginx,
            &[
                "proxy_set_header X-Real-IP $remote_addr;",
                "proxy_set_header X-Forwarded-For $remote_addr;",
            ][..],
        ),
        (
            Effect::Client,
            Product::Envoy,
            &[
                "use_remote_address: true",
                "{ key: X-Real-IP, value: \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\" }",
            ],
        ),
        (
            Effect::Client,
            Product::Haproxy,
            &[
                "headers[\"x-real-ip\"] = { txn.sf:src() }",
                "http-request set-header X-Forwarded-For %[src]",
            ],
        ),
        (
            Effect::Host,
            Product::Nginx,
            &["proxy_set_header X-Original-Host $host;"],
        ),
        (
            Effect::Host,
            Product::Haproxy,
            &["headers[\"x-original-host\"] = { txn.sf:req_hdr(\"host\") }"],
        ),
        (
            Effect::Method,
            Product::Nginx,
            &["proxy_set_header X-Original-Method $request_method;"],
        ),
        (
            Effect::Method,
            Product::Haproxy,
            &["headers[\"x-original-method\"] = { txn.sf:method() }"],
        ),
        (
            Effect::Path,
            Product::Nginx,
            &["proxy_set_header X-Original-URI $request_uri;"],
        ),
        (
            Effect::Path,
            Product::Haproxy,
            &["headers[\"x-original-uri\"] = { txn.sf:pathq() }"],
        ),
        (Effect::Path, Product::Envoy, &["path_prefix: /envoy"]),
        (
            Effect::OwnPages,
            Product::Nginx,
            &["location /.vestibule/ {"],
        ),
        (
            Effect::OwnPages,
            Product::Caddy,
            &["reverse_proxy /.vestibule/* https://127.0.0.1:8443"],
        ),
        (
            Effect::OwnPages,
            Product::Traefik,
            &["PathPrefix(`/.vestibule/`)"],
        ),
        (
            Effect::OwnPages,
            Product::Envoy,
            &["match: { prefix: /.vestibule/ }"],
        ),
        (
            Effect::OwnPages,
            Product::Haproxy,
            &["use_backend vestibule if { path_beg /.vestibule/ }"],
        ),
        (
            Effect::Unasked,
            Product::Nginx,
            &["auth_request /.vestibule/auth;"],
        ),
        (
            Effect::RequestId,
            Product::Caddy,
            &["request_header -X-Request-Id"],
        ),
        (Effect::RequestId, Product::Traefik, &["X-Request-Id: \"\""]),
        (
            Effect::RequestId,
            Product::Nginx,
            &["proxy_set_header X-Request-Id $request_id;"],
        ),
    ] {
        let (_, help) = of(effect, product, true);
        for line in lines {
            assert!(help.contains(line), "{help}");
            assert!(page.contains(line), "{line} is not on the page");
        }
    }
}

/// The same of the configurations that forward everything.
#[test]
fn what_is_to_be_written_where_all_is_forwarded_stands_on_its_page() {
    let page = include_str!("../../../../../../docs/behind-a-proxy.md");
    let uuid = "http-request set-header X-Request-Id %[uuid()]";
    let removed = "X-Request-Id: \"\"";
    for (effect, product, line) in [
        (
            Effect::Client,
            Product::Nginx,
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        ),
        (Effect::Client, Product::Envoy, "use_remote_address: true"),
        (
            Effect::Client,
            Product::Haproxy,
            "http-request set-header X-Forwarded-For %[src]",
        ),
        (
            Effect::Client,
            Product::Unknown,
            "http-request set-header X-Forwarded-For %[src]",
        ),
        (
            Effect::Host,
            Product::Nginx,
            "proxy_set_header Host $http_host;",
        ),
        (
            Effect::RequestId,
            Product::Nginx,
            "proxy_set_header X-Request-Id $request_id;",
        ),
        (
            Effect::RequestId,
            Product::Caddy,
            "header_up X-Request-Id {http.request.uuid}",
        ),
        (Effect::RequestId, Product::Traefik, removed),
        (Effect::RequestId, Product::Haproxy, uuid),
        (Effect::RequestId, Product::Unknown, uuid),
        (Effect::RequestId, Product::Unknown, removed),
    ] {
        let (_, help) = of(effect, product, false);
        assert!(help.contains(line), "{help}");
        assert!(page.contains(line), "{line} is not on the page");
    }
}
