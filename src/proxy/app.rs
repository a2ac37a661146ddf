//! One application behind the proxy: what its rules say, and the head that it gets.

mod settings;

use std::fmt::Display;
use std::net::IpAddr;
use std::ptr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;

use super::apps::Site;
use super::body::ResponseBody;
use super::credentials::{CredentialSettings, Credentials, Shown};
use super::headers::{Facts, Letters, RequestHeaders, ResponseChanges};
use super::live::Permitted;
use super::maintenance::{Maintenance, Pauses};
use super::part::{FORWARDED_PREFIX, Part};
use super::response::far_reaching::FarReachingHeaders;
use super::response::hsts::Hsts;
use super::response::rewrite::Rewriter;
use super::websocket::WebSocketOrigins;
use crate::access::{self, Decision, Permit};
use crate::clock::Clock;
use crate::error::RequestError;
use crate::forwarded::Client;
use crate::identity::{self, token};
use crate::metrics::{AppCounts, Metrics};
use crate::pages;
use crate::portal::Endpoint;
use crate::principal::Principal;
use crate::request::{
    self, AllowInPath, Authority, BadRequest, Host, HostPattern, Hosts, Networks, PathCase,
    Readings, Target, webdav,
};
use crate::session::data;
use crate::telemetry::{REQUEST_ID, RequestId};
use crate::upstream::tunnels::{self, Tunnels};
use crate::upstream::{
    self, Address, OwnNames, Renewal, RequestBody, Upstreams, health, hop_by_hop,
};

pub(crate) use settings::{AppSettings, WildcardLogin};

/// What identity tokens are made with.
pub(super) struct Signing {
    /// The host of one login for all apps.
    pub(super) login: Option<Host>,
    pub(super) public_port: Option<u16>,
    pub(super) signer: Arc<token::Signer>,
}

impl Signing {
    /// What the tokens of an app call the hosts of it and of its login.
    pub(super) fn origins(&self, app: &AppSettings) -> token::Origins {
        let has_it = |host: &&HostPattern| {
            host.name().is_some() || app.sso_wildcard == WildcardLogin::Together
        };
        let hosts: Vec<_> = app.hosts.iter().filter(has_it).cloned().collect();
        // A list without a host would have them all.
        let login = self.login.clone().filter(|_| !hosts.is_empty());
        token::Origins {
            login: login.map(|login| (login, Hosts::new(hosts))),
            public_port: self.public_port,
        }
    }
}

/// One application behind the proxy.
pub(super) struct App {
    pub(super) name: Arc<str>,
    /// What visitors sign in to.
    pub(super) title: Arc<str>,
    pub(super) part: Part,
    pub(super) hsts: Hsts,
    pub(super) rules: access::Rules,
    pub(super) networks: Networks,
    pub(super) identity: identity::Headers,
    pub(super) upstreams: Upstreams,
    pub(super) tunnels: Arc<Tunnels>,
    pub(super) tunnel_limits: tunnels::Limits,
    pub(super) counts: AppCounts,
    pub(super) keep_forms: bool,
    pub(super) session_data: bool,
    pub(super) push_is_use: bool,
    pub(super) methods: Vec<Method>,
    pub(super) maintenance: Maintenance,
    pub(super) max_body: u64,
    pub(super) allow_in_path: AllowInPath,
    pub(super) websocket_origins: WebSocketOrigins,
    pub(super) far_reaching: FarReachingHeaders,
    pub(super) rewriter: Rewriter,
    pub(super) credentials: Credentials,
    request_headers: Option<Box<RequestHeaders>>,
    response_changes: Option<Box<ResponseChanges>>,
    /// Of the headers that responses get, where names keep their letters.
    pub(super) letters: Option<Letters>,
}

/// A request that the rules let through, as its client sent it.
pub(super) struct Allowed {
    pub(super) id: RequestId,
    pub(super) permit: Permit,
    pub(super) permitted: Permitted,
    pub(super) head: Parts,
    pub(super) target: Target,
    pub(super) client: Client,
}

/// The same as the application gets it.
pub(super) struct Prepared {
    pub(super) permit: Permit,
    pub(super) permitted: Permitted,
    pub(super) request: Request<RequestBody>,
    pub(super) client: IpAddr,
}

/// Writes a length with leading zeros anew: some parser may read it as octal (SEC-14).
fn plain_length(headers: &mut HeaderMap) {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.filter(|length| length.len() > 1 && length.as_bytes()[0] == b'0');
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
}

/// To the folder of an app.
pub(super) fn to_folder(folder: HeaderValue) -> Response<ResponseBody> {
    let redirect = pages::redirect(StatusCode::PERMANENT_REDIRECT, folder);
    redirect.map(ResponseBody::ours)
}

impl App {
    pub(super) fn open(
        settings: AppSettings,
        credentials: Credentials,
        clock: &Clock,
        metrics: &Metrics,
        tunnels: &tunnels::Registry,
        checks: &health::Registry,
        pauses: &Pauses,
    ) -> Result<Self, upstream::OpenError> {
        let name: Arc<str> = settings.name.into();
        let request_headers = settings.request_headers;
        let mut response_headers = settings.response_headers;
        let written = std::mem::take(&mut response_headers.written);
        let has_letters = settings.upstream.preserve_header_case && !written.is_empty();
        let own_names = settings.identity.names().cloned();
        let own_names = OwnNames::new(own_names, request_headers.written.iter().cloned());
        Ok(Self {
            counts: metrics.app(&name),
            tunnels: tunnels.of_app(&name, clock),
            tunnel_limits: tunnels::Limits::of(&settings.upstream),
            identity: settings
                .identity
                .strip_overrides(settings.rules.name_methods())
                .also_strip(request_headers.names()),
            credentials,
            request_headers: (!request_headers.is_empty()).then(|| Box::new(request_headers)),
            response_changes: ResponseChanges::new(response_headers),
            letters: has_letters.then(|| Letters::new(written)),
            rewriter: Rewriter::new(&settings.upstream, settings.part.stripped()),
            part: settings.part,
            hsts: Hsts::new(settings.hsts),
            rules: settings.rules,
            networks: settings.networks,
            upstreams: Upstreams::open(
                &settings.upstream,
                own_names,
                (&name, settings.hosts.first_name()),
                clock,
                checks,
            )?,
            title: settings.title.map_or_else(|| Arc::clone(&name), Into::into),
            keep_forms: settings.keep_forms,
            session_data: settings.session_data,
            push_is_use: settings.push_is_use,
            methods: settings.methods,
            maintenance: Maintenance::new(settings.maintenance, &name, pauses),
            max_body: settings.max_body,
            name,
            allow_in_path: settings.allow_in_path,
            websocket_origins: settings.websocket_origins,
            far_reaching: FarReachingHeaders::new(settings.allow_response, clock.clone()),
        })
    }

    /// What the rules say of the target, and of whatever else the request names in its head.
    pub(super) fn decide(
        &self,
        target: &Target,
        authority: &Authority,
        head: &Parts,
        site: &Site,
        principal: Option<&Principal>,
        client: Option<IpAddr>,
    ) -> Result<Decision, RequestError> {
        let mut decision = self.judge(target.path(), &head.method, principal.cloned(), client)?;
        if !matches!(decision, Decision::Allow(_)) {
            return Ok(decision); // whatever else is named costs nobody's time
        }
        for path in request::further_paths(head, authority, self.allow_in_path)? {
            if Endpoint::of(&path).is_some() {
                return Err(RequestError::NotFound);
            }
            if !matches!(site.app_of(&path), Ok(Some(app)) if ptr::eq(Arc::as_ptr(app), self)) {
                // The rules of another app hold there (RFC 4918 §9.8.5, §9.9.4).
                return Err(BadRequest::Destination.into());
            }
            let readings = self.readings(&path)?;
            for method in [&head.method, &Method::PUT] {
                let principal = principal.cloned();
                let named = access::decide(&self.rules, &readings, method, principal, client);
                decision = decision.and(named);
            }
        }
        if let Decision::Allow(permit) = &decision
            && !permit.lets_service_workers()
            && request::is_service_worker(&head.headers)
        {
            return Err(RequestError::ServiceWorker);
        }
        Ok(decision)
    }

    /// What of a request is ours to judge by, and no longer in it. Our own pages take no notice of it
    /// (SEC-96).
    pub(super) fn take_credentials(
        &self,
        headers: &mut HeaderMap,
        is_own_page: bool,
    ) -> Result<Option<Shown>, BadRequest> {
        if is_own_page {
            return Ok(None);
        }
        self.credentials.take(headers)
    }

    /// What it takes from programs.
    pub(super) fn credentials(&self) -> &CredentialSettings {
        self.credentials.settings()
    }

    /// Refuses what is not for this app, whoever sends it.
    pub(super) fn check(
        &self,
        client: Option<IpAddr>,
        method: &Method,
    ) -> Result<(), RequestError> {
        if !self.networks.admit(client) {
            return Err(RequestError::WrongNetwork(client.into()));
        }
        if !self.methods.contains(method) {
            return Err(BadRequest::Method.into());
        }
        Ok(())
    }

    /// Refuses a body that is announced as larger than the application takes, before anything is
    /// done for it. One that grows too large without saying so breaks off on its way.
    pub(super) fn check_length(&self, body: &impl Body) -> Result<(), RequestError> {
        if self.max_body != 0 && body.size_hint().lower() > self.max_body {
            return Err(RequestError::UploadTooLarge);
        }
        Ok(())
    }

    /// Whether shared caches may keep the response to a request: everybody would get it.
    pub(super) fn is_public(&self, permit: &Permit) -> bool {
        permit.is_anonymous() && self.networks.are_any()
    }

    /// A path that the application could read as one of our own addresses is not found (SEC-73).
    pub(super) fn judge(
        &self,
        path: &str,
        method: &Method,
        principal: Option<Principal>,
        client: Option<IpAddr>,
    ) -> Result<Decision, RequestError> {
        let scope = principal.as_ref().and_then(Principal::scope);
        if scope.is_some_and(|scope| !scope.opens(&self.name, client)) {
            return Ok(Decision::OutOfScope);
        }
        let readings = self.readings(path)?;
        let rules = &self.rules;
        Ok(access::decide(rules, &readings, method, principal, client))
    }

    /// What it takes of a form that is kept.
    pub(super) fn longest_form(&self) -> u64 {
        match self.max_body {
            0 => u64::MAX,
            most => most,
        }
    }

    /// Whether a form of this origin waits for a click on its way there.
    pub(super) fn takes_post_from(&self, target: &Target, origin: &HeaderValue) -> bool {
        let readings = self.readings(target.path());
        readings.is_ok_and(|readings| self.rules.takes_post_from(&readings, origin.as_bytes()))
    }

    /// Every reading of a path; an error if one of them leads to our own addresses.
    fn readings<'p>(&self, path: &'p str) -> Result<Readings<'p>, RequestError> {
        let readings = Readings::of_app(path, self.part.stripped(), self.rules.case());
        let readings = readings.map_err(BadRequest::Path)?;
        let is_own = |reading: &str| self.part.reads_as_own_page(reading);
        let differs = self.rules.case() == PathCase::Insensitive || self.part.stripped().is_some();
        if differs && is_own(readings.path()) || readings.others().iter().any(|it| is_own(it)) {
            return Err(RequestError::NotFound);
        }
        Ok(readings)
    }

    /// Makes the head that the application gets out of the one that the client sent. Fields of
    /// this hop and forged ones go first, then ours come (SEC-38). `peer` is the other end of the
    /// client's connection.
    pub(super) fn prepare(
        &self,
        allowed: Allowed,
        peer: &HeaderValue,
        body: RequestBody,
    ) -> Prepared {
        let Allowed {
            id,
            permit,
            mut permitted,
            mut head,
            target,
            client,
        } = allowed;
        let prefix = self.part.stripped();
        let stripped = prefix.and_then(|prefix| target.without_prefix(prefix));
        head.uri = stripped.unwrap_or(target).into_uri();
        webdav::as_judged(&mut head, prefix, self.allow_in_path);
        let headers = &mut head.headers;
        let host = permitted.authority.to_header();
        hop_by_hop::strip(headers);
        plain_length(headers);
        headers.remove(header::EXPECT); // answered by us, when the body is asked for
        self.identity.strip(headers);
        if permit.is_for_some_methods() {
            identity::strip_overrides(headers);
        }
        client.describe(headers, peer, host.clone());
        headers.insert(header::HOST, host);
        if let Some(authorization) = permitted.authorization.take() {
            headers.insert(header::AUTHORIZATION, *authorization);
        }
        headers.insert(REQUEST_ID, id.to_header());
        if let Some(prefix) = self.part.stripped_header() {
            headers.insert(FORWARDED_PREFIX, prefix.clone());
        }
        if let Some(user) = permit.principal() {
            let session = permitted.session.as_ref();
            let key = session.map(|session| session.key());
            let key = key.as_ref().map(|key| key as &dyn Display);
            let request = token::Request {
                method: &head.method,
                authority: &permitted.authority,
                path: head.uri.path(),
            };
            self.identity.inject(headers, user, key, request);
            if body.is_read_ahead()
                && let Some(renewal) = self.identity.renewal(user, key, request)
            {
                head.extensions.insert(Renewal::new(renewal));
            }
            if self.session_data
                && let Some(data) = session.and_then(|session| session.data(&self.name))
            {
                headers.insert(data::DATA, data);
            }
        }
        if self.request_headers.is_some() || self.response_changes.is_some() {
            let facts = Facts {
                client: client.known_address(),
                host: &permitted.authority.to_header(),
                prefix: self.part.stripped_header(),
                id: &id,
            };
            if let Some(settings) = &self.request_headers {
                settings.apply(&mut head.headers, &facts);
            }
            let changes = self.response_changes.as_ref();
            permitted.changes = changes.map(|changes| changes.of(&facts));
        }
        Prepared {
            permit,
            permitted,
            request: Request::from_parts(head, body),
            client: client.address,
        }
    }

    /// Where a request for the folder of the app without the slash at its end leads: links of the
    /// app start from the folder. A WebSocket follows no redirect.
    pub(super) fn folder(
        &self,
        target: &Target,
        head: &Parts,
        has_body: bool,
    ) -> Option<HeaderValue> {
        if self.part.is_whole_host() || self.part.prefix() != target.path() {
            return None;
        }
        if hop_by_hop::opens_websocket(head, has_body) {
            return None;
        }
        let query = target
            .query()
            .map_or_else(String::new, |query| format!("?{query}"));
        HeaderValue::try_from(self.part.path() + &query).ok()
    }

    /// Whether a stream of `before` that comes from `address` could come from this app as well: of
    /// the same application, whatever it is called by now. Where nobody knows the address yet, it
    /// may be any that it had.
    pub(super) fn goes_on_with(&self, before: &Self, address: Option<&Address>) -> bool {
        let has = |address: &Address| self.upstreams.addresses().any(|ours| ours == address);
        match address {
            Some(address) => has(address),
            None => before.upstreams.addresses().any(has),
        }
    }
}
