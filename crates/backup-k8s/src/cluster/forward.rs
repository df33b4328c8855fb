//! Connections to a port of a pod: two channels of a WebSocket, one for bytes and one for the reason why there are none.

use std::{
    fmt, io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use backup_core::words::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures::{StreamExt, stream::SplitStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    time::Instant,
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Cluster, answer,
    channel::{Channel, Feed, Socket, send},
};

/// What is in flight towards the pod.
const BUFFER: usize = 256 << 10;
/// How long nothing may come, not even the answer to a ping.
const SILENCE: Duration = Duration::from_secs(90);
const DATA: u8 = 0;
const ERROR: u8 = 1;

/// A connection to a port of a pod. That nobody listens there is known at the first read: it fails then.
pub(crate) struct Forwarded {
    read: Channel,
    write: DuplexStream,
    _pump: AbortOnDropHandle<()>,
}

impl fmt::Debug for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Forwarded")
    }
}

impl Cluster {
    /// Connects to `port` of a pod, as one of its own programs would by the name `localhost`.
    pub(crate) async fn forward(&self, namespace: &str, pod: &str, port: u16) -> Result<Forwarded> {
        let what = format!("port-forward to {port} of pod {namespace}/{pod}");
        let internal = |e| Error::new(ErrorKind::Internal, "make the request for", &what).because(e);
        let pods = kube::core::Request::new(format!("/api/v1/namespaces/{namespace}/pods"));
        let request = pods.portforward(pod, &[port]).map_err(internal)?;
        let work = async {
            let connected = self.client().connect(request).await;
            let connection = connected.map_err(|e| answer::kube_error(self.server(), &what, e))?;
            let (sink, mut frames) = connection.into_stream().split();
            hello(&mut frames, port)
                .await
                .map_err(|e| Error::new(ErrorKind::Unreachable, "open", what.clone()).because(e))?;
            let (feed, read) = Channel::new();
            let (write, input) = tokio::io::duplex(BUFFER);
            let pump = tokio::spawn(async move {
                let reading = pin!(receive(frames, feed));
                // A ping is answered. An empty frame is no idleness: the kubelet ends connections that are idle for hours.
                let signs = [Message::Ping(Bytes::new()), Message::Binary(Bytes::from_static(&[DATA]))];
                tokio::select! {
                    () = reading => {}
                    error = send(sink, input, None, &signs) => {
                        tracing::debug!(%error, "a forwarded connection broke");
                    }
                }
            });
            Ok(Forwarded { read, write, _pump: AbortOnDropHandle::new(pump) })
        };
        tokio::time::timeout(self.timeout(), work).await.map_err(|_| self.timed_out(&what))?
    }
}

/// The first frame of each channel, which names the port.
async fn hello(frames: &mut SplitStream<Socket>, port: u16) -> io::Result<()> {
    let mut greeted = [false; 2];
    while greeted != [true; 2] {
        match frames.next().await {
            Some(Ok(Message::Binary(frame))) => match frame[..] {
                [channel @ (DATA | ERROR), low, high] if u16::from_le_bytes([low, high]) == port => {
                    greeted[usize::from(channel)] = true;
                }
                _ => return Err(io::Error::other("the first frame does not name the port")),
            },
            Some(Ok(Message::Close(_))) | None => return Err(io::ErrorKind::ConnectionAborted.into()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(io::Error::other(error)),
        }
    }
    Ok(())
}

/// Hands on what comes, to the end or to an error.
async fn receive(mut frames: SplitStream<Socket>, feed: Feed) {
    let mut since = Instant::now();
    let broke = loop {
        let frame = match tokio::time::timeout_at(since + SILENCE, frames.next()).await {
            Err(_) => break io::Error::new(io::ErrorKind::TimedOut, "not even a ping is answered"),
            Ok(None | Some(Ok(Message::Close(_)))) => return,
            Ok(Some(Err(error))) => break io::Error::new(io::ErrorKind::ConnectionReset, error),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Message::Binary(frame) = frame {
            match frame.first() {
                Some(&ERROR) => break refused(&String::from_utf8_lossy(&frame[1..])),
                Some(&DATA) if frame.len() > 1 && feed.send(Ok(frame.slice(1..))).await.is_err() => return,
                _ => {}
            }
        }
        since = Instant::now();
    };
    let _ = feed.send(Err(broke)).await;
}

/// What the kubelet says when it could not connect, or could no longer.
fn refused(said: &str) -> io::Error {
    let kind = if said.contains("connection refused") {
        io::ErrorKind::ConnectionRefused
    } else {
        io::ErrorKind::ConnectionAborted
    };
    io::Error::new(kind, said.trim().replace('\n', "; "))
}

impl AsyncRead for Forwarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(task, buffer)
    }
}

impl AsyncWrite for Forwarded {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(task)
    }
}
