//! Connections to a port of a pod: two channels of a WebSocket, one for bytes and one for the reason why there are none.

use std::{
    fmt, io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use backup_core::words::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream::SplitSink};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    time::Instant,
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Cluster, answer,
    channel::{Channel, Feed, Frame, Socket, send},
};

/// What is in flight towards the pod.
const BUFFER: usize = 256 << 10;
/// How long nothing may come, not even the answer to a ping.
const SILENCE: Duration = Duration::from_secs(90);
/// How long a refusal is waited for.
const EARLY: Duration = Duration::from_millis(100);
const DATA: u8 = 0;
const ERROR: u8 = 1;

/// A connection to a port of a pod. That nobody listens there may be known only at the first read: it fails then.
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
            let unreachable = |e| Error::new(ErrorKind::Unreachable, "open", what.clone()).because(e);
            hello(&mut frames, port).await.map_err(unreachable)?;
            let first = early(&mut frames).await.map_err(unreachable)?;
            let frames = futures::stream::iter(first).chain(frames);
            let (feed, read) = Channel::new();
            let (write, input) = tokio::io::duplex(BUFFER);
            let pump = tokio::spawn(pump(sink, input, frames, feed));
            Ok(Forwarded { read, write, _pump: AbortOnDropHandle::new(pump) })
        };
        tokio::time::timeout(self.timeout(), work).await.map_err(|_| self.timed_out(&what))?
    }
}

async fn pump(
    sink: SplitSink<Socket, Message>,
    mut input: DuplexStream,
    frames: impl Stream<Item = Frame> + Unpin,
    feed: Feed,
) {
    if let Err(broken) = talk(sink, &mut input, frames, &feed).await {
        let _ = feed.send(Err(broken)).await;
    }
    drop(feed);
    // Why it ended is said to whoever reads, and not hidden behind a write that fails before.
    let _ = tokio::io::copy(&mut input, &mut tokio::io::sink()).await;
}

async fn talk(
    sink: SplitSink<Socket, Message>,
    input: &mut DuplexStream,
    frames: impl Stream<Item = Frame> + Unpin,
    feed: &Feed,
) -> io::Result<()> {
    // A ping is answered. An empty frame is no idleness: the kubelet ends connections that are idle for hours.
    let signs = [Message::Ping(Bytes::new()), Message::Binary(Bytes::from_static(&[DATA]))];
    let mut receiving = pin!(receive(frames, feed));
    tokio::select! {
        end = &mut receiving => end,
        // What broke may have said why before.
        error = send(sink, input, None, &signs) => {
            receiving.await.and(Err(io::Error::new(io::ErrorKind::ConnectionReset, error)))
        }
    }
}

/// The first frame of each channel, which names the port.
async fn hello(frames: &mut (impl Stream<Item = Frame> + Unpin), port: u16) -> io::Result<()> {
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

/// What comes at once. That nobody listens is mostly known by then, and later it may be lost: the kubelet hangs up on what is
/// still being written.
async fn early(frames: &mut (impl Stream<Item = Frame> + Unpin)) -> io::Result<Option<Frame>> {
    let Ok(first) = tokio::time::timeout(EARLY, frames.next()).await else { return Ok(None) };
    match first {
        Some(Ok(Message::Binary(frame))) if frame.first() == Some(&ERROR) => {
            Err(refused(&String::from_utf8_lossy(&frame[1..])))
        }
        first => Ok(first),
    }
}

/// Hands on what comes, to the end or to an error.
async fn receive(mut frames: impl Stream<Item = Frame> + Unpin, feed: &Feed) -> io::Result<()> {
    let mut since = Instant::now();
    loop {
        let frame = match tokio::time::timeout_at(since + SILENCE, frames.next()).await {
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "not even a ping is answered")),
            Ok(None | Some(Ok(Message::Close(_)))) => return Ok(()),
            Ok(Some(Err(error))) => return Err(io::Error::new(io::ErrorKind::ConnectionReset, error)),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Message::Binary(frame) = frame {
            match frame.first() {
                Some(&ERROR) => return Err(refused(&String::from_utf8_lossy(&frame[1..]))),
                // Nobody reads any more.
                Some(&DATA) if frame.len() > 1 && feed.send(Ok(frame.slice(1..))).await.is_err() => {
                    return Ok(());
                }
                _ => {}
            }
        }
        since = Instant::now();
    }
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

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::io::AsyncReadExt;

    use super::*;

    fn frame(channel: u8, bytes: &[u8]) -> Frame {
        Ok(Message::binary([&[channel], bytes].concat()))
    }

    #[tokio::test]
    async fn the_first_frames_name_the_port_or_it_is_no_connection() {
        let good = [frame(DATA, &[0x38, 0x15]), Ok(Message::Ping(Bytes::new())), frame(ERROR, &[0x38, 0x15])];
        hello(&mut stream::iter(good), 5432).await.unwrap();
        for bad in [frame(DATA, &[0x39, 0x15]), frame(DATA, b"hello"), Ok(Message::Close(None))] {
            assert!(hello(&mut stream::iter([bad]), 5432).await.is_err());
        }
        assert!(hello(&mut stream::empty(), 5432).await.is_err());
    }

    async fn received(frames: Vec<Frame>) -> (Vec<u8>, io::Result<()>) {
        let (feed, mut channel) = Channel::new();
        let end = receive(stream::iter(frames), &feed).await;
        drop(feed);
        let mut bytes = Vec::new();
        channel.read_to_end(&mut bytes).await.unwrap();
        (bytes, end)
    }

    #[tokio::test]
    async fn an_error_frame_or_a_broken_connection_is_an_error_and_a_close_is_an_end() {
        let some = || frame(DATA, b"some");
        let (bytes, end) = received(vec![some(), frame(DATA, b""), Ok(Message::Close(None))]).await;
        assert_eq!((&bytes[..], end.is_ok()), (&b"some"[..], true));
        let (bytes, end) = received(vec![some(), frame(ERROR, b"dial tcp4: connection refused")]).await;
        assert_eq!((&bytes[..], end.unwrap_err().kind()), (&b"some"[..], io::ErrorKind::ConnectionRefused));
        let (_, end) = received(vec![some(), frame(ERROR, b"no route")]).await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        let broken = Err(tokio_tungstenite::tungstenite::Error::ConnectionClosed);
        assert_eq!(
            received(vec![some(), broken]).await.1.unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_even_an_answer_to_a_ping_it_is_given_up() {
        let (feed, _channel) = Channel::new();
        let begun = Instant::now();
        let end = receive(stream::pending(), &feed).await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), SILENCE);
    }
}
