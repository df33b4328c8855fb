//! Patroni's REST API: <https://patroni.readthedocs.io/en/latest/rest_api.html>.

use std::time::Duration;

use backup_core::{
    traits::Place,
    words::{Error, ErrorKind, Result, Secret},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use super::{Address, tls::Tls, wire::Wire};

/// How long one member may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The longest answer, in bytes.
const LONGEST: usize = 4 << 20;

/// What `GET /cluster` says.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Cluster {
    /// The cluster's name; Patroni before 3.1 does not say it.
    pub(crate) scope: Option<String>,
    /// Every member that Patroni knows.
    #[serde(default)]
    pub(crate) members: Vec<Member>,
    /// True in maintenance mode: there is no automatic failover.
    #[serde(default)]
    pub(crate) pause: bool,
}

/// One member of a cluster.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Member {
    /// Its name.
    #[serde(default)]
    pub(crate) name: String,
    /// "leader", "replica", "sync_standby", "standby_leader".
    #[serde(default)]
    pub(crate) role: String,
    /// "running", "streaming" and others.
    #[serde(default)]
    pub(crate) state: String,
    /// Where its REST API is, with a path.
    api_url: Option<String>,
    /// Where its PostgreSQL listens; missing while it starts.
    host: Option<String>,
    port: Option<u16>,
    /// The timeline it is on.
    pub(crate) timeline: Option<u64>,
    /// Bytes behind the leader: a number, or "unknown".
    pub(crate) lag: Option<serde_json::Value>,
}

impl Member {
    /// Where its PostgreSQL listens.
    pub(crate) fn address(&self) -> Option<Address> {
        Some(Address { host: self.host.clone()?, port: self.port?, on: None })
    }

    /// Where its REST API is.
    pub(crate) fn api(&self) -> Option<String> {
        let uri: Uri = self.api_url.as_deref()?.parse().ok()?;
        Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
    }

    /// Whether Patroni calls it the leader.
    pub(crate) fn is_leader(&self) -> bool {
        matches!(self.role.as_str(), "leader" | "master" | "primary")
    }
}

/// What is sent along where the REST API asks for a user.
#[derive(Clone, Debug)]
pub(crate) struct BasicAuth {
    pub(crate) user: String,
    pub(crate) password: Secret,
}

/// Asks the member at `url` for the cluster.
pub(crate) async fn cluster(
    place: &dyn Place,
    tls: &Tls,
    url: &str,
    auth: Option<&BasicAuth>,
) -> Result<Cluster> {
    match tokio::time::timeout(ANSWER_WITHIN, ask(place, tls, url, auth)).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::new(ErrorKind::TimedOut, "ask Patroni at", url)
            .detail(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))),
    }
}

async fn ask(place: &dyn Place, tls: &Tls, url: &str, auth: Option<&BasicAuth>) -> Result<Cluster> {
    let (uri, address) = read_url(url)?;
    let failed = |kind| Error::new(kind, "ask Patroni at", url);
    let stream = Wire(place.connect(&address.host, address.port).await?);
    let stream = encrypt(tls, &uri, &address, stream, url).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| failed(ErrorKind::Unreachable).because(e))?;
    tokio::spawn(connection);
    let mut request = Request::get(format!("{}/cluster", uri.path().trim_end_matches('/')))
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close");
    if let Some(auth) = auth {
        let pair = format!("{}:{}", auth.user, auth.password.expose());
        request = request.header(header::AUTHORIZATION, format!("Basic {}", base64(pair.as_bytes())));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| failed(ErrorKind::Config).because(e))?;
    let response =
        sender.send_request(request).await.map_err(|e| failed(ErrorKind::Unreachable).because(e))?;
    match response.status() {
        status if status.is_success() => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(failed(ErrorKind::Denied)
                .detail(response.status().to_string())
                .hint("set `patroni_user` and `patroni_password` of the component"));
        }
        status => return Err(failed(ErrorKind::Failed).detail(status.to_string())),
    }
    let body = Limited::new(response.into_body(), LONGEST)
        .collect()
        .await
        .map_err(|e| failed(ErrorKind::Unreachable).because(e))?
        .to_bytes();
    serde_json::from_slice(&body)
        .map_err(|e| failed(ErrorKind::Unsupported).detail("it does not answer as Patroni does").because(e))
}

/// The host in the address of a member.
pub(super) fn host_of(url: &str) -> Result<String> {
    read_url(url).map(|(_, address)| address.host)
}

fn read_url(url: &str) -> Result<(Uri, Address)> {
    let bad = || {
        Error::new(ErrorKind::Config, "read the address of Patroni", url)
            .hint("write it as http://10.0.0.1:8008")
    };
    let uri: Uri = url.parse().map_err(|_| bad())?;
    let port = match uri.scheme_str() {
        Some("http") => uri.port_u16().unwrap_or(8008),
        #[cfg(feature = "tls")]
        Some("https") => uri.port_u16().unwrap_or(8008),
        _ => return Err(bad()),
    };
    let host = uri.host().ok_or_else(bad)?.trim_matches(['[', ']']).to_owned();
    // A password in an address would be shown in errors and findings.
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(Error::new(ErrorKind::Config, "read the address of Patroni", host)
            .detail("it holds a user")
            .hint("use `patroni_user` and `patroni_password`"));
    }
    Ok((uri, Address { host, port, on: None }))
}

#[cfg(feature = "tls")]
async fn encrypt(tls: &Tls, uri: &Uri, address: &Address, stream: Wire, url: &str) -> Result<Wire> {
    if uri.scheme_str() == Some("https") { tls.https(&address.host, stream, url).await } else { Ok(stream) }
}

#[cfg(not(feature = "tls"))]
async fn encrypt(_: &Tls, _: &Uri, _: &Address, stream: Wire, _: &str) -> Result<Wire> {
    Ok(stream)
}

/// RFC 4648 base64.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0u32, |bits, (i, b)| bits | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let pairs = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in pairs {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn an_address_with_a_password_is_refused_without_showing_it() {
        let error = read_url("http://admin:hunter2@10.0.0.1:8008").unwrap_err();
        assert!(!error.chain().contains("hunter2"), "{}", error.chain());
        assert_eq!(read_url("http://[::1]:8009").unwrap().1.to_string(), "[::1]:8009");
        assert!(read_url("10.0.0.1:8008").is_err());
    }

    #[test]
    fn an_answer_with_an_unknown_lag_and_a_starting_member_is_read() {
        let text = r#"{"members": [
            {"name": "a", "role": "leader", "state": "running", "host": "h", "port": 5432, "timeline": 3},
            {"name": "b", "role": "replica", "state": "starting", "lag": "unknown", "tags": {}}], "pause": true}"#;
        let cluster: Cluster = serde_json::from_str(text).unwrap();
        assert!(cluster.pause && cluster.members[0].is_leader());
        assert_eq!(cluster.members[1].address(), None);
    }
}
