//! How requests travel: timeouts, bandwidth, checksums; what goes wrong becomes a typed error.
//!
//! Nothing is tried again here or in the vendor's client: that is decided once, in [`crate::retry`], where it is known what may
//! be done twice.

mod body;
mod checks;
mod pace;
mod refusal;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use backup_core::words::{Error, ErrorKind, Result};
use chrono::{DateTime, Utc};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
        HttpService,
    },
};

pub(crate) use checks::Checks;
pub(crate) use pace::Pace;
pub(crate) use refusal::{Broken, How, Refusal};

use body::{Heard, Progress, Sent};

/// What a body must get through in a second, or it is given up.
const LEAST_RATE: u64 = 4096;
/// An answer that joins parts may take so many times longer than others.
const LONG: u32 = 5;
/// What is on this host answers soon, or is not there.
const LOCAL: Duration = Duration::from_secs(2);
/// More of a refusal is not read.
const REFUSAL: usize = 64 << 10;

/// When the server answered, on its clock; beside every answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerTime(pub(crate) DateTime<Utc>);

/// Changes requests to the store after they were signed; signs them again then.
#[async_trait]
pub(crate) trait Amend: Send + Sync + std::fmt::Debug {
    async fn amend(&self, request: &mut HttpRequest) -> object_store::Result<()>;
}

/// How patient a connection is, whom it trusts, how fast it may be.
#[derive(Clone, Debug)]
pub(crate) struct WireSettings {
    pub(crate) connect: Duration,
    /// So long may nothing be heard.
    pub(crate) silence: Duration,
    /// Certificates in PEM that are trusted besides the system's.
    pub(crate) ca: Option<Vec<u8>>,
    /// Bytes a second, for each direction.
    pub(crate) bandwidth: Option<u64>,
}

/// Sends requests: to the store, and to whoever says who we are.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    client: reqwest::Client,
    /// Past every proxy, for what only this host can reach.
    direct: reqwest::Client,
    store: Host,
    silence: Duration,
    up: Option<Arc<Pace>>,
    down: Option<Arc<Pace>>,
    checks: Checks,
    answered: Arc<AtomicBool>,
    amend: Arc<OnceLock<Box<dyn Amend>>>,
}

impl Wire {
    /// For a store at `address`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the address or the certificates cannot be used.
    pub(crate) fn new(settings: &WireSettings, checks: Checks, address: &str) -> Result<Self> {
        let address: http::Uri = address.parse().map_err(|e: http::uri::InvalidUri| {
            Error::new(ErrorKind::Config, "use the address", address).because(e)
        })?;
        let bad = |e: reqwest::Error| {
            Error::new(ErrorKind::Config, "set up", "connections to the object store")
                .because(e.without_url())
        };
        let builder = || {
            reqwest::Client::builder()
                .http1_only()
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!("ha-backup/", env!("CARGO_PKG_VERSION")))
        };
        let mut client = builder().connect_timeout(settings.connect);
        if let Some(pem) = &settings.ca {
            client = client.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem).map_err(bad)?);
        }
        let pace = || settings.bandwidth.map(|rate| Arc::new(Pace::new(rate)));
        Ok(Self {
            client: client.build().map_err(bad)?,
            direct: builder().connect_timeout(LOCAL).no_proxy().build().map_err(bad)?,
            store: Host::of(&address),
            silence: settings.silence,
            up: pace(),
            down: pace(),
            checks,
            answered: Arc::default(),
            amend: Arc::default(),
        })
    }

    /// From now on requests to the store are amended; once for all clones.
    #[cfg(feature = "s3")]
    pub(crate) fn amend_with(&self, amend: Box<dyn Amend>) {
        // Only the factory that made it does so.
        let _ = self.amend.set(amend);
    }

    /// Whether the server has answered anything yet.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Sends the request and reads the answer's head.
    async fn send(&self, request: HttpRequest) -> Result<http::Response<reqwest::Body>, HttpError> {
        let (parts, body) = request.into_parts();
        let silence = if parts.method == http::Method::POST { self.silence * LONG } else { self.silence };
        let limit = silence + Duration::from_secs(body.content_length() as u64 / LEAST_RATE);
        let progress = Arc::new(Progress::now());
        let body = Sent::new(body, self.up.clone(), progress.clone());
        let request = http::Request::from_parts(parts, reqwest::Body::wrap(body));
        let request = reqwest::Request::try_from(request).map_err(|e| broken(&e))?;
        let client = if is_metadata(request.url().host_str()) { &self.direct } else { &self.client };
        let answer = progress.heard_within(silence, client.execute(request));
        match tokio::time::timeout(limit, answer).await {
            Ok(Some(Ok(response))) => Ok(response.into()),
            Ok(Some(Err(e))) => Err(broken(&e)),
            Ok(None) | Err(_) => Err(silent(silence)),
        }
    }

    /// A whole body that is small.
    async fn read_small(&self, body: reqwest::Body) -> Result<Vec<u8>, HttpError> {
        use http_body_util::BodyExt;
        let mut heard = Heard::new(body, None, self.silence * LONG);
        let mut bytes = Vec::new();
        while let Some(frame) = heard.frame().await {
            if let Ok(data) = frame?.into_data() {
                bytes.extend_from_slice(&data);
            }
            if bytes.len() > REFUSAL {
                break;
            }
        }
        Ok(bytes)
    }

    /// Asks who we are. What goes wrong there must never look like the store's own answer: "not found" is no missing object.
    async fn identity(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let failed = |passing: bool, why: String| {
            let detail = format!("{host}, who says who we are: {why}");
            HttpError::new(HttpErrorKind::Unknown, Broken { how: How::Identity { passing }, detail })
        };
        let response = match self.send(request).await {
            Ok(response) => response,
            Err(e) => {
                return Err(failed(
                    true,
                    Broken::find(&e).map_or_else(|| e.to_string(), |b| b.detail.clone()),
                ));
            }
        };
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            return Ok(HttpResponse::from_parts(
                parts,
                HttpResponseBody::new(Heard::new(body, None, self.silence)),
            ));
        }
        let body = self.read_small(body).await.unwrap_or_default();
        let refusal = Refusal::parse(parts.status.as_u16(), &parts.headers, &body);
        Err(failed(parts.status.is_server_error() || refusal.status == 429, refusal.to_string()))
    }
}

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Host(String, u16);

impl Host {
    fn of(address: &http::Uri) -> Self {
        let usual = if address.scheme_str() == Some("http") { 80 } else { 443 };
        Self(address.host().unwrap_or_default().to_ascii_lowercase(), address.port_u16().unwrap_or(usual))
    }
}

/// Whether it is this instance's own service for metadata.
fn is_metadata(host: Option<&str>) -> bool {
    host.is_some_and(|host| {
        host == "metadata.google.internal"
            || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_link_local())
    })
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if Host::of(request.uri()) != self.store {
            return self.identity(request).await;
        }
        // Without an identity Google's client sends an empty token, which servers refuse.
        let token = request.headers().get(http::header::AUTHORIZATION);
        if token.is_some_and(|token| token.as_bytes().trim_ascii() == b"Bearer") {
            request.headers_mut().remove(http::header::AUTHORIZATION);
        }
        if let Some(amend) = self.amend.get() {
            amend.amend(&mut request).await.map_err(|e| HttpError::new(HttpErrorKind::Request, e))?;
        }
        let expected = self.checks.prepare(&mut request);
        let joins = self.checks.answers_late(&request);
        let (mut parts, body) = self.send(request).await?.into_parts();
        self.answered.store(true, Ordering::Relaxed);
        if let Some(time) = server_time(&parts.headers) {
            parts.extensions.insert(time);
        }
        if !parts.status.is_success() {
            let body = self.read_small(body).await.unwrap_or_default();
            return Err(refused(Refusal::parse(parts.status.as_u16(), &parts.headers, &body)));
        }
        if let Some(changed) = expected.and_then(|expected| expected.differs(&parts.headers)) {
            return Err(HttpError::new(HttpErrorKind::Unknown, changed));
        }
        if joins {
            // An answer that began well may still end in an error.
            let body = self.read_small(body).await?;
            if let Some(refusal) = Refusal::in_success(&body) {
                return Err(refused(refusal));
            }
            return Ok(HttpResponse::from_parts(parts, body.into()));
        }
        let body = HttpResponseBody::new(Heard::new(body, self.down.clone(), self.silence));
        Ok(HttpResponse::from_parts(parts, body))
    }
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

fn server_time(headers: &http::HeaderMap) -> Option<ServerTime> {
    let date = headers.get(http::header::DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(date).ok().map(|time| ServerTime(time.to_utc()))
}

fn refused(refusal: Refusal) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, refusal)
}

fn broken(error: &reqwest::Error) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, Broken::of(error))
}

fn silent(limit: Duration) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, Broken::silent(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_same_however_it_is_written() {
        let host = |text: &str| Host::of(&text.parse().unwrap());
        assert_eq!(host("https://S3.example/bucket"), host("https://s3.example:443/bucket/key?x=y"));
        assert_eq!(host("http://127.0.0.1:80"), host("http://127.0.0.1/a"));
        assert_ne!(host("https://s3.example"), host("https://sts.example"));
        assert_ne!(host("http://127.0.0.1:9000"), host("http://127.0.0.1:9001"));
    }

    #[test]
    fn only_the_instances_own_service_is_asked_past_proxies() {
        assert!(is_metadata(Some("169.254.169.254")) && is_metadata(Some("metadata.google.internal")));
        assert!(!is_metadata(Some("127.0.0.1")) && !is_metadata(Some("sts.example")) && !is_metadata(None));
    }
}
