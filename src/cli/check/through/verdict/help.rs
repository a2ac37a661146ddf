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
    /// An auth request has the path of one of them; others say it in their responses, or not.
    pub(super) fn of(way: &Way, said: Option<&str>) -> Self {
        let name = match way {
            Way::Asked(kind) => kind.as_str(),
            Way::Forwarded | Way::OwnPage => said.unwrap_or_default(),
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
        // Neither of these two says its name.
        (Effect::Client, Product::Unknown) => {
            "X-Forwarded-For set to the address of its client, whatever that has sent: in HAProxy \
             http-request set-header X-Forwarded-For %[src], in Traefik no `forwardedHeaders.insecure` \
             and no client in `forwardedHeaders.trustedIPs`"
        }
        (Effect::Host, Product::Nginx) => "proxy_set_header Host $http_host;",
        (Effect::Host, _) => "the `Host` of the request passed on, whatever else it names",
        (Effect::Method, _) => "the method of the request passed on, whatever else names one",
        (Effect::Path, _) => "the path of the request passed on, whatever else names one",
        (Effect::Unasked, _) => "every path of this host forwarded to Vestibule",
        (Effect::OwnPages, _) => "`/.vestibule/` of this host forwarded to `listen`",
        (Effect::RequestId, Product::Nginx) => "proxy_set_header X-Request-Id $request_id;",
        (Effect::RequestId, Product::Haproxy) => "http-request set-header X-Request-Id %[uuid()]",
        (Effect::RequestId, Product::Caddy) => "header_up X-Request-Id {http.request.uuid}",
        (Effect::RequestId, Product::Traefik) => "X-Request-Id: \"\" in `customRequestHeaders`",
        (Effect::RequestId, Product::Envoy) => {
            "use_remote_address: true in its HTTP connection manager, and no \
             `preserve_external_request_id`"
        }
        (Effect::RequestId, Product::Unknown) => {
            "X-Request-Id replaced, or removed: in HAProxy \
             http-request set-header X-Request-Id %[uuid()], in Traefik X-Request-Id: \"\" in \
             `customRequestHeaders`"
        }
    };
    let proxy = product.name().unwrap_or("the proxy in front");
    let mut help =
        format!("{proxy} needs: {line}; docs/behind-a-proxy.md has whole configurations");
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
            "no `trusted_proxies` in the Caddyfile that the network of clients is in, and no \
             `header_up` for X-Forwarded-Host, X-Forwarded-Method or X-Forwarded-Uri in \
             `forward_auth`, which sets them itself"
        }
        (Effect::Host | Effect::Method | Effect::Path, Product::Traefik) => {
            "no `trustForwardHeader` in the middleware that asks"
        }
        (Effect::Client, Product::Unknown) => "the address of its client in the name that is read",
        (Effect::Host, Product::Unknown) => "the host of the request in the name that is read",
        (Effect::Method, Product::Unknown) => "the method of the request in the name that is read",
        (Effect::Path, Product::Unknown) => "the path of the request in the name that is read",
        (Effect::OwnPages, Product::Nginx) => {
            "location /.vestibule/ { with proxy_pass to `listen`, and without auth_request"
        }
        (Effect::OwnPages, Product::Caddy) => {
            "reverse_proxy /.vestibule/* https://127.0.0.1:8443 before `forward_auth`, with the \
             address of `listen`"
        }
        (Effect::OwnPages, Product::Traefik) => {
            "a router with PathPrefix(`/.vestibule/`) for this host that leads to `listen`, without \
             the middleware that asks"
        }
        (Effect::OwnPages, Product::Envoy) => {
            "match: { prefix: /.vestibule/ } before the other routes of this host, to `listen` and \
             with ext_authz disabled"
        }
        (Effect::OwnPages, Product::Haproxy) => {
            "use_backend vestibule if { path_beg /.vestibule/ }"
        }
        (Effect::OwnPages, Product::Unknown) => {
            "`/.vestibule/` of this host forwarded to `listen`, without an auth request"
        }
        (Effect::Unasked, Product::Nginx) => {
            "auth_request /.vestibule/auth; in each `location` of this host but /.vestibule/, and no \
             `return` before it"
        }
        (Effect::Unasked, Product::Caddy) => {
            "`forward_auth` before everything that answers for this host but /.vestibule/"
        }
        (Effect::Unasked, Product::Traefik) => {
            "the middleware `vestibule` in each router of this host but the one for /.vestibule/"
        }
        (Effect::Unasked, Product::Envoy) => {
            "no route with `disabled: true` for ext_authz but the one for /.vestibule/"
        }
        (Effect::Unasked, Product::Haproxy) => {
            "both lines with `http-request` in each backend of an app, and nothing that answers \
             before them"
        }
        (Effect::Unasked, Product::Unknown) => {
            "the auth request for every path of this host but `/.vestibule/`"
        }
        (Effect::RequestId, Product::Nginx) => "proxy_set_header X-Request-Id $request_id;",
        (Effect::RequestId, Product::Caddy) => "request_header -X-Request-Id",
        (Effect::RequestId, Product::Traefik) => "X-Request-Id: \"\" in `customRequestHeaders`",
        (Effect::RequestId, Product::Haproxy) => {
            "x-request-id in the names of http-request del-header"
        }
        (Effect::RequestId, Product::Envoy | Product::Unknown) => {
            "X-Request-Id replaced, or removed"
        }
    };
    let proxy = product.name().unwrap_or("the proxy in front");
    format!("{proxy} needs: {line}; docs/forward-auth.md has all of its configuration")
}

#[cfg(test)]
mod tests;
