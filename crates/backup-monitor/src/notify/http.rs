//! One request to an address that may be a secret.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use backup_core::{
    traits::{Context, Node, SecretSource},
    words::{Error, ErrorKind, Result, Retry, Secret, TimeLength},
};
use reqwest::{
    Method, StatusCode, Url,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect::{Attempt, Policy},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{cut, retry::with_retries};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// More of an answer is not read.
const ANSWER: usize = 64 << 10;
/// So much of an answer is shown.
const SHOWN: usize = 200;
/// An address's parts that are shorter are no secrets of their own.
const TELLING: usize = 6;

/// Keys of everything that is told by a request.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub(super) struct HttpSettings {
    /// A file with certificates (PEM) that are trusted besides the system's.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// How long an answer may take. Default: "10s".
    #[serde(default)]
    timeout: Option<TimeLength>,
}

/// Sends requests for one notifier.
#[derive(Clone, Debug)]
pub(super) struct Http {
    name: String,
    settings: HttpSettings,
}

/// What is sent.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// What of the body is never shown; the address and sensitive headers never are.
    pub(super) secrets: Vec<Secret>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: String,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The seconds that Telegram and Discord ask for in the body.
    fn asked_wait(&self) -> Option<f64> {
        let body = self.json();
        body["parameters"]["retry_after"].as_f64().or_else(|| body["retry_after"].as_f64())
    }
}

impl Ask {
    /// POST of JSON.
    pub(super) fn json(url: Url, body: &serde_json::Value) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { method: Method::POST, url, headers, body: body.to_string().into_bytes(), secrets: Vec::new() }
    }
}

impl Http {
    pub(super) fn new(name: &str, node: &Node, settings: HttpSettings) -> Result<Self> {
        if settings.timeout.is_some_and(|length| length.0.num_seconds() < 1) {
            return Err(node.error("timeout", "an answer takes a second at least"));
        }
        Ok(Self { name: name.to_owned(), settings })
    }

    /// The address that `source` holds.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it is none.
    pub(super) async fn url(&self, source: &SecretSource, key: &str) -> Result<Url> {
        let secret = source.resolve(&format!("{key} of the notifier {}", self.name)).await?;
        self.parse(secret.expose())
    }

    /// The address `text`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it is none.
    pub(super) fn parse(&self, text: &str) -> Result<Url> {
        let url =
            Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.ok_or_else(|| {
            Error::new(ErrorKind::Config, "use the address of", self.subject())
                .detail("it is none")
                .hint("write it as https://HOST/...")
        })
    }

    /// A header whose value is never shown.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it cannot be one.
    pub(super) fn header(&self, headers: &mut HeaderMap, name: &str, value: &Secret) -> Result<()> {
        let bad = || {
            Error::new(ErrorKind::Config, "use the header of", self.subject())
                .detail(format!("`{name}` or its value is no header"))
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    }

    /// The secret that `source` holds.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it is not there.
    pub(super) async fn secret(&self, source: &SecretSource, key: &str) -> Result<Secret> {
        source.resolve(&format!("{key} of the notifier {}", self.name)).await
    }

    /// Sends it, again where that can help; `good` says whether an answer with a good status is one.
    ///
    /// # Errors
    /// When nobody answers, or refuses. The address is in none.
    pub(super) async fn send(
        &self,
        cx: &Context,
        ask: &Ask,
        good: impl Fn(&Answer) -> bool + Sync,
    ) -> Result<()> {
        let client = self.client()?;
        let (client, good) = (&client, &good);
        with_retries(cx, || async move {
            let (answer, wait) = self.once(client, ask).await?;
            self.judge(ask, &answer, wait, good)
        })
        .await
    }

    fn client(&self) -> Result<reqwest::Client> {
        let bad = |e: reqwest::Error| {
            Error::new(ErrorKind::Config, "set up the connection of", self.subject()).because(e.without_url())
        };
        let timeout = self.settings.timeout.and_then(|length| length.0.to_std().ok()).unwrap_or(TIMEOUT);
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .redirect(Policy::custom(follow))
            .timeout(timeout)
            .user_agent(concat!("ha-backup/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &self.settings.ca {
            let pem = std::fs::read(file).map_err(|e| Error::io("read", file.display().to_string(), e))?;
            builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&pem).map_err(bad)?);
        }
        builder.build().map_err(bad)
    }

    /// The answer, and for how long the other side wants to be left alone.
    async fn once(&self, client: &reqwest::Client, ask: &Ask) -> Result<(Answer, Option<Duration>)> {
        let request = client
            .request(ask.method.clone(), ask.url.clone())
            .headers(ask.headers.clone())
            .body(ask.body.clone());
        let mut response = request.send().await.map_err(|e| self.broken(e))?;
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = Vec::new();
        while body.len() < ANSWER {
            match response.chunk().await.map_err(|e| self.broken(e))? {
                Some(bytes) => body.extend_from_slice(&bytes),
                None => break,
            }
        }
        body.truncate(ANSWER);
        let body = String::from_utf8_lossy(&body).into_owned();
        let answer = Answer { status: response.status(), body };
        let wait = asked.or_else(|| answer.asked_wait()).and_then(|s| Duration::try_from_secs_f64(s).ok());
        Ok((answer, wait))
    }

    fn judge(
        &self,
        ask: &Ask,
        answer: &Answer,
        wait: Option<Duration>,
        good: impl Fn(&Answer) -> bool,
    ) -> Result<()> {
        let status = answer.status;
        if status.is_success() && good(answer) {
            return Ok(());
        }
        let said = shown(answer, ask);
        let error = |kind, detail: String| Error::new(kind, "tell", self.subject()).detail(detail);
        if status.is_success() {
            return Err(error(
                ErrorKind::Failed,
                format!("it answered {status}, but not as it should: {said}"),
            )
            .hint("is the address right, and is it this kind of notifier's?"));
        }
        if status.is_redirection() {
            return Err(error(ErrorKind::Config, format!("it answered {status}: it is elsewhere"))
                .hint("write the address that it redirects to: messages follow to no other host"));
        }
        let detail = format!("it answered {status}: {said}");
        Err(match status.as_u16() {
            429 => error(ErrorKind::Throttled, detail).retry(wait.map_or(Retry::Now, Retry::After)),
            503 if wait.is_some() => {
                error(ErrorKind::Throttled, detail).retry(wait.map_or(Retry::Now, Retry::After))
            }
            408 | 500..=599 => error(ErrorKind::Failed, detail).retry(Retry::Now),
            401 | 403 => error(ErrorKind::Denied, detail).hint("is its token or key right, and may it send?"),
            404 | 410 => error(ErrorKind::NotFound, detail).hint("is its address right?"),
            _ => error(ErrorKind::Failed, detail),
        })
    }

    /// Without the address: it may be the secret.
    fn broken(&self, error: reqwest::Error) -> Error {
        let (kind, hint) = if error.is_timeout() {
            (ErrorKind::TimedOut, "is it up, and can this host reach it?")
        } else {
            (ErrorKind::Unreachable, "is it up, is its address right, and is its certificate trusted (`ca`)?")
        };
        // The innermost cause says enough; those around it hold the address.
        let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        let detail = match causes.last() {
            _ if error.is_timeout() => "no answer in time".to_owned(),
            Some(deepest) => deepest.to_string(),
            None => "the connection failed".to_owned(),
        };
        Error::new(kind, "tell", self.subject()).detail(detail).hint(hint)
    }

    fn subject(&self) -> String {
        format!("the notifier {}", self.name)
    }
}

/// Redirects that keep method and body, on the same host; a message goes nowhere else.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let here = attempt.previous().last();
    let same = here.is_some_and(|url| url.origin() == attempt.url().origin());
    let whole = matches!(attempt.status().as_u16(), 307 | 308);
    if same && whole && attempt.previous().len() <= 3 { attempt.follow() } else { attempt.stop() }
}

/// The beginning of what was answered, on one line and without anything of the request's address or secrets.
fn shown(answer: &Answer, ask: &Ask) -> String {
    let line = answer.body.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line = if line.is_empty() { "nothing".to_owned() } else { line };
    for secret in secrets(ask) {
        line = line.replace(&secret, "…");
    }
    cut(&line, SHOWN)
}

/// The longest first.
fn secrets(ask: &Ask) -> Vec<String> {
    let url = &ask.url;
    let mut all = vec![url.as_str().to_owned(), url.path().to_owned()];
    all.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
    all.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    all.extend(url.password().map(str::to_owned));
    all.extend(ask.secrets.iter().map(|secret| secret.expose().to_owned()));
    for value in ask.headers.values().filter(|value| value.is_sensitive()) {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        all.extend(value.split_whitespace().map(str::to_owned));
        all.push(value);
    }
    all.retain(|text| text.len() >= TELLING);
    all.sort_by_key(|text| std::cmp::Reverse(text.len()));
    all
}

/// Headers of a section, fetched.
pub(super) async fn secret_headers(
    http: &Http,
    headers: &mut HeaderMap,
    sources: &BTreeMap<String, SecretSource>,
) -> Result<()> {
    for (name, source) in sources {
        let value = http.secret(source, &format!("headers.{name}")).await?;
        http.header(headers, name, &value)?;
    }
    Ok(())
}
