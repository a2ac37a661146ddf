//! What was found, in words, and the line of the proxy's configuration that mends it.

use super::Effect;
use crate::probe::Way;

/// The proxies that the documentation has configurations for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    Nginx,
    Caddy,
    Traefik,
    Envoy,
    Haproxy,
    Unknown,
}

impl Product {
    /// An auth request has the path of one of them; others say it in `Server`, or not.
    pub(super) fn of(way: &Way, server: Option<&str>) -> Self {
        let name = match way {
            Way::Asked(kind) => kind.as_str(),
            Way::Forwarded | Way::OwnPage => server.unwrap_or_default(),
        };
        let name = name.to_ascii_lowercase();
        let known = [
            ("nginx", Self::Nginx),
            ("openresty", Self::Nginx),
            ("caddy", Self::Caddy),
            ("traefik", Self::Traefik),
            ("envoy", Self::Envoy),
            ("haproxy", Self::Haproxy),
        ];
        let known = known.into_iter().find(|(begin, _)| name.starts_with(begin));
        known.map_or(Self::Unknown, |(_, product)| product)
    }

    pub(super) fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Nginx => "nginx",
            Self::Caddy => "Caddy",
            Self::Traefik => "Traefik",
            Self::Envoy => "Envoy",
            Self::Haproxy => "HAProxy",
            Self::Unknown => return None,
        })
    }
}

/// What it means, and how to close it.
pub(super) fn of(
    effect: Effect,
    product: Product,
    by_forward_auth: bool,
) -> (&'static str, String) {
    let message = match effect {
        Effect::Client => {
            "clients choose the address that they are throttled, logged and let in by"
        }
        Effect::Host => {
            "clients choose the host, and so the app, that their requests are judged for"
        }
        Effect::Method => "clients choose the method that their requests are judged by",
        Effect::Path => "clients choose the path that their requests are judged by",
        Effect::Unasked => "the proxy in front answers by itself",
        Effect::OwnPages => "the pages below /.vestibule/ cannot be reached",
        Effect::RequestId => "clients choose how their requests are named in the log",
    };
    let help = if by_forward_auth {
        asking(effect, product)
    } else {
        forwarding(effect, product)
    };
    (message, help)
}

/// Where the proxy forwards to `listen`.
fn forwarding(effect: Effect, product: Product) -> String {
    let line = match (effect, product) {
        (Effect::Client, Product::Nginx) => {
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
        }
        (Effect::Client, Product::Caddy) => {
            "no `trusted_proxies` in the Caddyfile that the network of clients is in"
        }
        (Effect::Client, Product::Traefik) => {
            "no `forwardedHeaders.insecure`, and no client in `forwardedHeaders.trustedIPs`"
        }
        (Effect::Client, Product::Envoy) => {
            "`use_remote_address: true` and `xff_num_trusted_hops: 0` in its HTTP connection manager"
        }
        (Effect::Client, Product::Haproxy) => "http-request set-header X-Forwarded-For %[src]",
        (Effect::Client, Product::Unknown) => "X-Forwarded-For set to the address of its client",
        (Effect::Host, Product::Nginx) => "proxy_set_header Host $http_host;",
        (Effect::Host, _) => "the `Host` of the request passed on, whatever else it names",
        (Effect::Method, _) => "the method of the request passed on, whatever else names one",
        (Effect::Path, _) => "the path of the request passed on, whatever else names one",
        (Effect::Unasked, _) => "every path of this host forwarded to Vestibule",
        (Effect::OwnPages, _) => "`/.vestibule/` of this host forwarded to `listen`",
        (Effect::RequestId, Product::Nginx) => "proxy_set_header X-Request-Id $request_id;",
        (Effect::RequestId, Product::Haproxy) => "http-request set-header X-Request-Id %[uuid()]",
        (Effect::RequestId, Product::Caddy) => "header_up X-Request-Id {http.request.uuid}",
        (Effect::RequestId, _) => "X-Request-Id replaced, or removed",
    };
    let proxy = product.name().unwrap_or("the proxy in front");
    let mut help = format!("{proxy} needs: {line}");
    if effect == Effect::Client {
        help.push_str("; and `trusted_proxies` names the proxy alone, not a network with clients");
    }
    help
}

/// Where it asks by forward auth: a line of the configuration in docs/forward-auth.md.
fn asking(effect: Effect, product: Product) -> String {
    let line = match (effect, product) {
        (Effect::Client, Product::Nginx) => {
            "proxy_set_header X-Real-IP $remote_addr; where it asks, and \
             proxy_set_header X-Forwarded-For $remote_addr; for `/.vestibule/`"
        }
        (Effect::Client, Product::Caddy) => {
            "no `trusted_proxies` in the Caddyfile that the network of clients is in, and no `header_up` \
             for X-Forwarded-For"
        }
        (Effect::Client, Product::Traefik) => {
            "no `forwardedHeaders.insecure`, no client in `forwardedHeaders.trustedIPs`, and no \
             `trustForwardHeader` in the middleware that asks"
        }
        (Effect::Client, Product::Envoy) => {
            "use_remote_address: true in its HTTP connection manager, and \
             { key: X-Real-IP, value: \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\" } in `headers_to_add`"
        }
        (Effect::Client, Product::Haproxy) => {
            "headers[\"x-real-ip\"] = { txn.sf:src() } in the Lua script, and \
             http-request set-header X-Forwarded-For %[src]"
        }
        (Effect::Host, Product::Nginx) => "proxy_set_header X-Original-Host $host;",
        (Effect::Host, Product::Haproxy) => {
            "headers[\"x-original-host\"] = { txn.sf:req_hdr(\"host\") } in the Lua script"
        }
        (Effect::Method, Product::Nginx) => "proxy_set_header X-Original-Method $request_method;",
        (Effect::Method, Product::Haproxy) => {
            "headers[\"x-original-method\"] = { txn.sf:method() } in the Lua script"
        }
        (Effect::Path, Product::Nginx) => "proxy_set_header X-Original-URI $request_uri;",
        (Effect::Path, Product::Haproxy) => {
            "headers[\"x-original-uri\"] = { txn.sf:pathq() } in the Lua script"
        }
        (Effect::Path, Product::Envoy) => {
            "path_prefix: /envoy where it asks, and no rewrite of the path before that"
        }
        (Effect::Host | Effect::Method, Product::Envoy) => {
            "the `Host` and the method of the request left as they are before it asks"
        }
        (Effect::Host | Effect::Method | Effect::Path, Product::Caddy) => {
            "no `header_up` for X-Forwarded-Host, X-Forwarded-Method or X-Forwarded-Uri in \
             `forward_auth`, which sets them itself"
        }
        (Effect::Host | Effect::Method | Effect::Path, Product::Traefik) => {
            "no `trustForwardHeader` in the middleware that asks"
        }
        (Effect::Client, Product::Unknown) => "the address of its client in the name that is read",
        (Effect::Host, Product::Unknown) => "the host of the request in the name that is read",
        (Effect::Method, Product::Unknown) => "the method of the request in the name that is read",
        (Effect::Path, Product::Unknown) => "the path of the request in the name that is read",
        (Effect::OwnPages, _) => {
            "`/.vestibule/` of this host forwarded to `listen`, without an auth request"
        }
        (Effect::Unasked, _) => "the auth request for every path of this host but `/.vestibule/`",
        (Effect::RequestId, Product::Nginx) => "proxy_set_header X-Request-Id $request_id;",
        (Effect::RequestId, _) => "X-Request-Id replaced, or removed",
    };
    let proxy = product.name().unwrap_or("the proxy in front");
    format!("{proxy} needs: {line}; docs/forward-auth.md has all of its configuration")
}

#[cfg(test)]
mod tests {
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
        let page = include_str!("../../../../../docs/forward-auth.md");
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
}
