//! Envoy, a reverse proxy with TLS and no login.

use std::process::Command;

use super::{Login, Peer};

pub(super) const ENVOY: Peer = Peer {
    name: "envoy",
    title: "Envoy",
    program: "envoy",
    version: "--version",
    login: Login::None,
    prepare: |site, program| {
        let config = site.configure("envoy.yaml", TEMPLATE)?;
        let mut command = Command::new(program);
        command.arg("-c").arg(config);
        command.args(["--log-level", "error", "--disable-hot-restart"]);
        command.args(["--concurrency", &site.workers.to_string()]);
        Ok(command)
    },
    answers: None,
};

const TEMPLATE: &str = r#"
static_resources:
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: <port> } }
    filter_chains:
    - transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_params: { tls_minimum_protocol_version: TLSv1_3 }
            tls_certificates:
            - certificate_chain: { filename: <folder>/cert.pem }
              private_key: { filename: <folder>/key.pem }
      filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: visitors
          use_remote_address: true
          route_config:
            virtual_hosts:
            - name: app
              domains: ["*"]
              routes:
              - match: { prefix: / }
                route: { cluster: app, timeout: 0s }
          http_filters:
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: app
    type: STATIC
    circuit_breakers:
      thresholds:
      - { max_connections: 8000, max_pending_requests: 8000, max_requests: 8000 }
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: { socket_address: { address: 127.0.0.1, port_value: <app-port> } }
"#;
