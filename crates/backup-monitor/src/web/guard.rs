//! What every request passes, and every answer carries.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};

use super::{
    auth::{Caller, Refused},
    installation::Access,
    pages,
    router::Site,
};

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Looks at the host's name and at who calls, and sets the headers of every answer.
pub(super) async fn guard(State(site): State<Site>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = match admit(&site, &request, &path) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => *refusal,
    };
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "same-origin");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if !path.starts_with("/assets/") {
        set(header::CACHE_CONTROL, "no-store");
    }
    if site.settings.tls.is_some() {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}

fn admit(site: &Site, request: &Request, path: &str) -> Result<Caller, Box<Response>> {
    // Tells nothing, and a probe asks for it under any name.
    if path == "/healthz" {
        return Ok(Caller::Anybody);
    }
    let headers = request.headers();
    if !host_is_ours(site, headers, request.uri()) {
        let text = "This name is not one of the dashboard's: add it to `hostnames` in [dashboard].";
        return Err(pages::problem(StatusCode::MISDIRECTED_REQUEST, "Not here", text).into());
    }
    if request.method() == Method::POST && !is_from_here(headers) {
        return Err(pages::problem(StatusCode::FORBIDDEN, "Refused", "Another site sent this.").into());
    }
    if path == "/login" || path.starts_with("/assets/") {
        return Ok(Caller::Anybody);
    }
    let from = peer(request);
    site.auth.caller(headers, from).map_err(|refused| {
        if refused != Refused::Unknown {
            site.note("login", path, refused.words(), "unknown", from);
        }
        turned_away(site, refused, request.uri()).into()
    })
}

impl Refused {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Unknown => "refused: not logged in",
            Self::Wrong => "refused: wrong token",
            Self::Wait(_) => "refused: too many tries",
        }
    }

    /// As an answer without a page.
    pub(super) fn response(self) -> Response {
        let mut response = match self {
            Self::Unknown | Self::Wrong => (StatusCode::UNAUTHORIZED, "who are you?\n").into_response(),
            Self::Wait(wait) => {
                let seconds = wait.as_secs() + 1;
                let retry = [(header::RETRY_AFTER, seconds.to_string())];
                return (StatusCode::TOO_MANY_REQUESTS, retry, "too many tries\n").into_response();
            }
        };
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    }
}

fn turned_away(site: &Site, refused: Refused, uri: &Uri) -> Response {
    let path = uri.path();
    let page = !path.starts_with("/api/") && path != "/events";
    match refused {
        Refused::Unknown if page && site.settings.token.is_some() => {
            let wanted = uri.path_and_query().map_or("/", |wanted| wanted.as_str());
            Redirect::to(&format!("/login?next={}", pages::encoded(wanted))).into_response()
        }
        Refused::Unknown if page => {
            let text = "The dashboard is seen through the proxy that it trusts.";
            pages::problem(StatusCode::UNAUTHORIZED, "Who are you?", text)
        }
        refused => refused.response(),
    }
}

/// Where the request came from.
pub(super) fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<Peer>();
    peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip().to_canonical())
}

/// A page elsewhere can make a browser ask for any name that leads here (DNS rebinding): on loopback only ours are answered. On
/// other addresses, which take authentication, any name is, unless some are configured.
fn host_is_ours(site: &Site, headers: &HeaderMap, uri: &Uri) -> bool {
    let settings = &site.settings;
    if !settings.listen.ip().is_loopback() && settings.hostnames.is_empty() {
        return true;
    }
    let mut sent = headers.get_all(header::HOST).iter();
    let named = sent.next().and_then(|value| value.to_str().ok());
    let host = match (named, sent.next()) {
        (Some(host), None) => host,
        (None, None) => uri.authority().map_or("", |authority| authority.as_str()),
        _ => return false,
    };
    let name = without_port(host);
    let known = settings.hostnames.iter().any(|known| known.eq_ignore_ascii_case(name));
    let own = settings.listen.ip();
    known
        || name.eq_ignore_ascii_case("localhost")
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip == own)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}

/// Browsers say where a form was sent from; what says nothing is no browser.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return matches!(site, "same-origin" | "none");
    }
    match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => true,
        (Some(origin), Some(host)) => {
            origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
        }
        (Some(_), None) => false,
    }
}

impl Site {
    /// Writes an audit line.
    pub(super) fn note(&self, action: &'static str, on: &str, outcome: &str, user: &str, from: IpAddr) {
        self.installation.noted(&Access {
            action,
            on: on.to_owned(),
            outcome: outcome.to_owned(),
            user: user.to_owned(),
            from: from.to_string(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_from_its_port() {
        for (host, name) in
            [("localhost:8080", "localhost"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("a.b", "a.b")]
        {
            assert_eq!(without_port(host), name);
        }
    }

    #[test]
    fn a_form_of_another_site_is_known() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
        };
        let ours = [("origin", "http://localhost:8080"), ("host", "localhost:8080")];
        assert!(is_from_here(&headers(&ours)));
        assert!(is_from_here(&headers(&[("host", "localhost:8080")])));
        let evil = [("origin", "http://evil.example"), ("host", "localhost:8080")];
        assert!(!is_from_here(&headers(&evil)));
        assert!(!is_from_here(&headers(&[("origin", "null"), ("host", "localhost")])));
        assert!(!is_from_here(&headers(&[("sec-fetch-site", "cross-site"), ("host", "localhost")])));
    }
}
