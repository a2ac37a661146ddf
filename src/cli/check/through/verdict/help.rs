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

/// Where it asks by forward auth.
fn asking(effect: Effect, product: Product) -> String {
    let proxy = product.name().unwrap_or("the proxy in front");
    match effect {
        Effect::OwnPages => format!(
            "{proxy} needs: `/.vestibule/` of this host forwarded to `listen`, without an auth request"
        ),
        Effect::Unasked => {
            format!(
                "{proxy} needs: the auth request for every path of this host but `/.vestibule/`"
            )
        }
        _ => format!(
            "use the configuration of docs/forward-auth.md for {proxy}: it sets each name that is \
             read, in place of what the client sent"
        ),
    }
}
