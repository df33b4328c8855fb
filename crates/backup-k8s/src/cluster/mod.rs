//! The API server: how it is reached, asked and understood.

mod answer;
mod attach;
mod channel;
mod exec;
mod forward;
mod kinds;
mod patience;

use std::{fmt, time::Duration};

use backup_core::words::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use answer::{Refusal, refusal};
pub(crate) use attach::Attached;
pub(crate) use channel::Channel;
pub(crate) use exec::{Exec, Running, exit_code, lost_before};
pub(crate) use kinds::{ResourceKind, escaped};
pub(crate) use patience::{Patience, is_lost};

use crate::config::Access;

/// What an answer that is read whole may be long: an object is 3 MB at most, discovery of a group less.
const MOST: usize = 16 << 20;
/// How we are called as a field manager.
pub(crate) const FIELD_MANAGER: &str = "ha-backup";

/// A connection to an API server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    server: String,
    timeout: Duration,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Reads the kubeconfig or the service account; asks nothing yet.
    pub(crate) async fn connect(access: &Access) -> Result<Self> {
        let mut config = read_config(access).await?;
        let timeout = access.timeout();
        // Bounded here, request by request: a stream may be silent for longer than an answer may take to begin.
        config.read_timeout = None;
        config.write_timeout = None;
        config.connect_timeout = Some(timeout.min(Duration::from_secs(10)));
        config.default_retry = false;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = Client::try_from(config).map_err(|e| {
            Error::new(ErrorKind::Config, "use the credentials for", server.clone())
                .hint("look at the user and the cluster of the kubeconfig's context")
                .because(e)
        })?;
        Ok(Self { client, server, timeout })
    }

    /// The API server's URL.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// The time that an answer may take to begin.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// For what kube does better: WebSockets.
    fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request; an answer other than 2xx is an error whose [`refusal`] has the details. The answer's head comes within
    /// the time-out; its body is the caller's to bound.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>> {
        let what = format!("{} {}", request.method(), request.uri());
        let answered = tokio::time::timeout(self.timeout, self.client.send(request)).await;
        let response = answered
            .map_err(|_| self.timed_out(&what))?
            .map_err(|e| answer::kube_error(&self.server, &what, e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let retry_after = answer::retry_after(response.headers());
        let body = self.collect(&what, response, 64 << 10).await.unwrap_or_default();
        Err(answer::refused(&self.server, &what, Refusal::read(code, retry_after, &body)))
    }

    /// GETs `path` (with its query) as JSON of at most 16 MiB.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.ask(Method::GET, path, None, None).await
    }

    /// Sends `body` (with its media type) and reads JSON of at most 16 MiB.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        accept: Option<&str>,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<T> {
        let what = format!("{method} {path}");
        let request = request(method, path, accept, body)?;
        let response = self.send(request).await?;
        let bytes = self.collect(&what, response, MOST).await?;
        serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "understand the answer to", format!("{what} of {}", self.server))
                .because(e)
        })
    }

    /// Creates an object (POST to the collection's path) and returns what the server made of it.
    pub(crate) async fn create(&self, collection: &str, object: &Value) -> Result<Value> {
        let path = with_query(collection, &format!("fieldManager={FIELD_MANAGER}"));
        self.ask(Method::POST, &path, None, Some(("application/json", to_json(object)?))).await
    }

    /// Deletes an object; `background` leaves what it owns to the garbage collector.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        let body = br#"{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}"#.to_vec();
        self.ask::<Value>(Method::DELETE, path, None, Some(("application/json", body))).await.map(drop)
    }

    /// Whether the API server says that it is ready; true as well where it does not tell.
    pub(crate) async fn is_ready(&self) -> bool {
        let Ok(request) = request(Method::GET, "/readyz", Some("*/*"), None) else { return true };
        match self.send(request).await {
            Ok(_) => true,
            Err(error) => refusal(&error).is_some_and(|refusal| matches!(refusal.code, 401 | 403 | 404)),
        }
    }

    /// GETs `path` and hands on the body as it comes; each piece must come within the time-out.
    pub(crate) async fn stream(
        &self,
        path: &str,
        accept: Option<&str>,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + Unpin + use<>> {
        let response = self.send(request(Method::GET, path, accept, None)?).await?;
        let (cluster, what) = (self.clone(), format!("GET {path}"));
        let pieces = Box::pin(response.into_body().into_data_stream());
        Ok(Box::pin(futures::stream::try_unfold(
            (pieces, cluster, what),
            |(mut pieces, cluster, what)| async {
                match cluster.piece(&what, pieces.next()).await? {
                    Some(piece) => Ok(Some((piece, (pieces, cluster, what)))),
                    None => Ok(None),
                }
            },
        )))
    }

    async fn piece(
        &self,
        what: &str,
        next: impl Future<Output = Option<Result<Bytes, kube::Error>>>,
    ) -> Result<Option<Bytes>> {
        let next = tokio::time::timeout(self.timeout, next).await.map_err(|_| self.timed_out(what))?;
        next.transpose().map_err(|e| answer::kube_error(&self.server, what, e))
    }

    async fn collect(&self, what: &str, response: Response<Body>, most: usize) -> Result<Vec<u8>> {
        let mut pieces = Box::pin(response.into_body().into_data_stream());
        let mut body = Vec::new();
        while let Some(piece) = self.piece(what, pieces.next()).await? {
            if body.len() + piece.len() > most {
                return Err(Error::new(ErrorKind::Failed, "read the answer to", what)
                    .detail(format!("it is longer than {most} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn timed_out(&self, what: &str) -> Error {
        Error::new(ErrorKind::TimedOut, "ask", format!("{}: {what}", self.server))
            .detail(format!("no answer in {} s", self.timeout.as_secs()))
            .hint("is the API server overloaded? `request_timeout` gives it longer")
    }
}

/// A request to the API server.
pub(crate) fn request(
    method: Method,
    path: &str,
    accept: Option<&str>,
    body: Option<(&str, Vec<u8>)>,
) -> Result<Request<Body>> {
    let mut builder =
        Request::builder().method(method).uri(path).header("accept", accept.unwrap_or("application/json"));
    let body = match body {
        Some((media_type, bytes)) => {
            builder = builder.header("content-type", media_type);
            Body::from(bytes)
        }
        None => Body::empty(),
    };
    builder.body(body).map_err(|e| Error::new(ErrorKind::Internal, "make the request for", path).because(e))
}

/// `path` with one more part of a query.
pub(crate) fn with_query(path: &str, query: &str) -> String {
    format!("{path}{}{query}", if path.contains('?') { '&' } else { '?' })
}

/// JSON bytes of a value, of which the API server makes the same when it reads them as YAML, as it does with what is applied:
/// what is a control character or a line's end there is escaped.
pub(crate) fn to_json(value: &Value) -> Result<Vec<u8>> {
    let text = serde_json::to_string(value)
        .map_err(|e| Error::new(ErrorKind::Internal, "write", "an object").because(e))?;
    let special = |c: char| {
        matches!(c, '\u{7F}'..='\u{9F}' | '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}')
    };
    if !text.contains(special) {
        return Ok(text.into_bytes());
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if special(c) { escaped.push_str(&format!("\\u{:04X}", u32::from(c))) } else { escaped.push(c) }
    }
    Ok(escaped.into_bytes())
}

async fn read_config(access: &Access) -> Result<Config> {
    let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
    let failed = |subject: String, e: kube::config::KubeconfigError| {
        Error::new(ErrorKind::Config, "read the kubeconfig", subject)
            .hint("name a readable file in `kubeconfig`, and one of its contexts in `context`")
            .because(e)
    };
    if let Some(file) = &access.kubeconfig {
        let subject = file.display().to_string();
        let read = Kubeconfig::read_from(file).map_err(|e| failed(subject.clone(), e))?;
        return Config::from_custom_kubeconfig(read, &options).await.map_err(|e| failed(subject, e));
    }
    if access.context.is_some() {
        return Config::from_kubeconfig(&options).await.map_err(|e| failed("of the environment".into(), e));
    }
    Config::infer().await.map_err(|e| {
        Error::new(ErrorKind::Config, "find", "a Kubernetes cluster")
            .detail("there is neither a kubeconfig nor a service account")
            .hint("name a file in `kubeconfig`, or run in a pod with a service account")
            .because(e)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_the_same_when_it_is_read_as_yaml() {
        let value = json!({"a": "\u{7F}\u{85}\u{2028}\u{FEFF}ü😀\u{1}"});
        let bytes = to_json(&value).unwrap();
        assert_eq!(bytes, "{\"a\":\"\\u007F\\u0085\\u2028\\uFEFFü😀\\u0001\"}".as_bytes());
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), value);
    }
}
