//! A small browser: keeps cookies, follows nothing by itself, sends what browsers send.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::reply::Reply;
use super::{tls, within};

/// Name of the session cookie.
pub(crate) const SESSION_COOKIE: &str = "__Host-Http-vestibule";

/// One browser profile; clones share its cookies.
#[derive(Clone)]
pub(crate) struct Browser {
    address: SocketAddr,
    host: String,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
    headers: Vec<(String, String)>,
    alpn: &'static str,
}

impl Browser {
    pub(crate) fn new(address: SocketAddr, host: &str) -> Self {
        Self {
            address,
            host: host.to_owned(),
            cookies: Arc::default(),
            headers: Vec::new(),
            alpn: "http/1.1",
        }
    }

    /// Another one at the same address, without a cookie.
    pub(crate) fn fresh(&self) -> Self {
        Self::new(self.address, &self.host)
    }

    /// Another one at the same address, for another host.
    pub(crate) fn for_host(&self, host: &str) -> Self {
        Self::new(self.address, host)
    }

    /// The same browser, cookies and all, whose requests from now on a load balancer sends there.
    pub(crate) fn led_to(&self, address: SocketAddr) -> Self {
        Self {
            address,
            ..self.clone()
        }
    }

    /// The same without a cookie.
    pub(crate) fn without_cookies(mut self) -> Self {
        self.cookies = Arc::default();
        self
    }

    /// Speaks HTTP/2 from now on.
    pub(crate) fn over_http2(mut self) -> Self {
        self.alpn = "h2";
        self
    }

    /// Sends this header with each request, instead of what the browser itself would say there.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a cookie as in `name=value`.
    pub(crate) fn cookie(self, pair: &str) -> Self {
        let (name, value) = pair.split_once('=').unwrap();
        let mut cookies = self.cookies.lock().unwrap();
        cookies.insert(name.to_owned(), value.to_owned());
        drop(cookies);
        self
    }

    /// All cookies, as in a `Cookie` field.
    pub(crate) fn cookies(&self) -> String {
        let cookies = self.cookies.lock().unwrap();
        let pairs: Vec<_> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    /// The session cookie, as in `name=value`.
    pub(crate) fn session_cookie(&self) -> String {
        let cookies = self.cookies.lock().unwrap();
        let value = cookies.get(SESSION_COOKIE).expect("no session cookie");
        format!("{SESSION_COOKIE}={value}")
    }

    pub(crate) fn is_signed_in(&self) -> bool {
        self.cookies.lock().unwrap().contains_key(SESSION_COOKIE)
    }

    /// The origin of the pages that this browser shows.
    pub(crate) fn origin(&self) -> String {
        format!("https://{}", self.host)
    }

    /// Loads a page.
    pub(crate) async fn get(&self, target: &str) -> Reply {
        let headers = [
            ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        self.request(Method::GET, target, &headers, Bytes::new())
            .await
    }

    /// Fetches by script, as the app's own pages do.
    pub(crate) async fn fetch(&self, target: &str) -> Reply {
        let headers = [
            ("accept", "*/*"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-site", "same-origin"),
        ];
        self.request(Method::GET, target, &headers, Bytes::new())
            .await
    }

    /// Sends a form of a page of this host.
    pub(crate) async fn post_form(&self, target: &str, fields: &[(&str, &str)]) -> Reply {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let origin = self.origin();
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", &origin),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-site", "same-origin"),
        ];
        self.request(Method::POST, target, &headers, form.into())
            .await
    }

    /// Loads the login form and fills it in; whatever comes of it.
    pub(crate) async fn try_login(&self, user: &str, password: &str) -> Reply {
        self.login_at("/.vestibule/login", user, password).await
    }

    /// The same, with the address that the login form was opened at.
    pub(crate) async fn login_at(&self, target: &str, user: &str, password: &str) -> Reply {
        // Whoever is signed in gets the form only on demand.
        let joint = if target.contains('?') { '&' } else { '?' };
        let form = self.get(&format!("{target}{joint}switch=1")).await;
        form.assert_status(200);
        let (csrf, return_to) = (form.hidden("csrf"), form.hidden("return_to"));
        let fields = [
            ("csrf", csrf.as_str()),
            ("return_to", &return_to),
            ("username", user),
            ("password", password),
        ];
        self.post_form("/.vestibule/login", &fields).await
    }

    /// Signs in.
    pub(crate) async fn login(self, user: &str, password: &str) -> Self {
        let reply = self.try_login(user, password).await;
        assert!(self.is_signed_in(), "no session from {reply}");
        reply.assert_status(303);
        self
    }

    /// Signs out by the button of the logout page.
    pub(crate) async fn logout(&self) -> Reply {
        let page = self.get("/.vestibule/logout").await;
        page.assert_status(200);
        let csrf = page.hidden("csrf");
        self.post_form("/.vestibule/logout", &[("csrf", &csrf)])
            .await
    }

    /// Sends a request on a connection of its own; `headers` yield to those of the browser.
    pub(crate) async fn request(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Reply {
        let what = format!("an answer to {method} {target}");
        let own = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let overridden = |name: &str| self.headers.iter().any(|(own, _)| own == name);
        let uri = match self.alpn {
            "h2" => format!("https://{}{target}", self.host),
            _ => target.to_owned(),
        };
        let mut request = Request::builder().method(method).uri(uri);
        if self.alpn != "h2" && !overridden("host") {
            request = request.header("host", &self.host);
        }
        for (name, value) in headers
            .iter()
            .copied()
            .filter(|(name, _)| !overridden(name))
        {
            request = request.header(name, value);
        }
        for (name, value) in own {
            request = request.header(name, value);
        }
        let cookies = self.cookies();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies);
        }
        let request = request.body(Full::new(body)).unwrap();
        let reply = within(&what, self.send(&what, request)).await;
        self.keep_cookies(&reply);
        reply
    }

    async fn send(&self, what: &str, request: Request<Full<Bytes>>) -> Reply {
        let address = self.address;
        let stream = TcpStream::connect(address).await;
        let stream = stream.unwrap_or_else(|error| panic!("{what}: connect {address}: {error}"));
        let stream = tls::connect(stream, &self.host, &[self.alpn]).await;
        let stream = stream.unwrap_or_else(|error| panic!("{what}: handshake: {error}"));
        let io = TokioIo::new(stream);
        let response = if self.alpn == "h2" {
            let executor = TokioExecutor::new();
            let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
                .await
                .unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        let response = response.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let (head, body) = response.into_parts();
        let headers = head.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        Reply {
            status: head.status.as_u16(),
            headers: headers.collect(),
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    /// As RFC 6265bis has it, as far as tests need it: name, value and `Max-Age=0`.
    fn keep_cookies(&self, reply: &Reply) {
        let mut cookies = self.cookies.lock().unwrap();
        for set in reply.values("set-cookie") {
            let mut parts = set.split(';').map(str::trim);
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            if parts.any(|part| part.eq_ignore_ascii_case("max-age=0")) {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}
