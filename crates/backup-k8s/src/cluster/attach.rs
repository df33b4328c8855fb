//! A program in a container over one WebSocket, each of its streams a channel: the protocol `v5.channel.k8s.io`, see
//! <https://pkg.go.dev/k8s.io/apimachinery/pkg/util/remotecommand>.

use std::{collections::VecDeque, pin::pin, time::Duration};

use backup_core::words::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::AttachParams;
use tokio::{io::DuplexStream, sync::oneshot, time::Instant};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Exec, answer,
    channel::{Channel, Feed, Frame, Socket, send},
};

/// What is in flight towards standard input.
const BUFFER: usize = 256 << 10;
/// How often something is read that nobody wants yet.
const TRICKLE: Duration = Duration::from_secs(600);
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// Standard input is closed by this.
const CLOSE_STDIN: &[u8] = &[255, 0];

/// A running program's streams. Reading and writing never hold each other up. Dropping it closes the connection.
pub(crate) struct Attached {
    /// Dropping it is the end of input.
    pub(crate) stdin: Option<DuplexStream>,
    /// Standard output. Dropped, it is read and thrown away.
    pub(crate) stdout: Option<Channel>,
    /// Standard error, likewise. While one is full and not read, nothing comes from the other.
    pub(crate) stderr: Option<Channel>,
    end: oneshot::Receiver<std::result::Result<Status, String>>,
    _pump: AbortOnDropHandle<()>,
}

impl Attached {
    /// Starts `command`. With `silence`, the connection counts as lost when nothing comes for so long while we are reading.
    pub(crate) async fn start(
        exec: &Exec,
        command: &[String],
        input: bool,
        silence: Option<Duration>,
    ) -> Result<Self> {
        let mut asked = AttachParams::default().stdin(input).stdout(true).stderr(true);
        asked.container.clone_from(&exec.container);
        let program = command.first().map_or("", String::as_str);
        let what = format!("exec {program} in {}", exec.subject());
        let internal = |e| Error::new(ErrorKind::Internal, "make the request for", &what).because(e);
        let pods = kube::core::Request::new(format!("/api/v1/namespaces/{}/pods", exec.namespace));
        let request = pods.exec(&exec.pod, command, &asked).map_err(internal)?;
        let cluster = &exec.cluster;
        let connection = tokio::time::timeout(cluster.timeout(), cluster.client().connect(request))
            .await
            .map_err(|_| cluster.timed_out(&what))?
            .map_err(|e| answer::kube_error(cluster.server(), &what, e))?;
        if input && !connection.supports_stream_close() {
            return Err(Error::new(ErrorKind::Unsupported, "give input to", what)
                .detail("this API server cannot tell the program where its input ends")
                .hint("Kubernetes 1.30 and newer can"));
        }
        let (stdin, pipe) = tokio::io::duplex(BUFFER);
        let (out, stdout) = Channel::new();
        let (errors, stderr) = Channel::new();
        let (told, end) = oneshot::channel();
        let socket = connection.into_stream();
        let pump = tokio::spawn(async move {
            let close = input.then(|| Message::Binary(Bytes::from_static(CLOSE_STDIN)));
            let _ = told.send(pump(socket, (pipe, close), out, errors, silence).await);
        });
        Ok(Self {
            stdin: Some(stdin).filter(|_| input),
            stdout: Some(stdout),
            stderr: Some(stderr),
            end,
            _pump: AbortOnDropHandle::new(pump),
        })
    }

    /// What the API server says of the program's end, or how the connection was lost before it said anything.
    pub(crate) async fn end(&mut self) -> std::result::Result<Status, String> {
        match (&mut self.end).await {
            Ok(end) => end,
            Err(_) => Err("it was given up".to_owned()),
        }
    }
}

async fn pump(
    socket: Socket,
    (mut input, close): (DuplexStream, Option<Message>),
    out: Feed,
    errors: Feed,
    silence: Option<Duration>,
) -> std::result::Result<Status, String> {
    let (sink, frames) = socket.split();
    let signs = [Message::Ping(Bytes::new())];
    let mut reading = pin!(read(frames, out, errors, silence));
    tokio::select! {
        end = &mut reading => end,
        // The end may have been told before the connection broke.
        error = send(sink, &mut input, close, &signs) => match reading.await {
            Err(_) => Err(error.to_string()),
            told => told,
        },
    }
}

async fn read(
    mut frames: impl Stream<Item = Frame> + Unpin,
    out: Feed,
    errors: Feed,
    silence: Option<Duration>,
) -> std::result::Result<Status, String> {
    let (mut out, mut errors) = (Slow::new(out), Slow::new(errors));
    let mut since = Instant::now();
    let end = loop {
        let frame = match silence {
            None => frames.next().await,
            Some(limit) => match tokio::time::timeout_at(since + limit, frames.next()).await {
                Ok(frame) => frame,
                Err(_) => break Err(format!("nothing came for {} s", limit.as_secs())),
            },
        };
        let frame = match frame {
            Some(Ok(Message::Binary(frame))) if !frame.is_empty() => frame,
            Some(Ok(Message::Close(_))) | None => break Err("it was closed".to_owned()),
            Some(Ok(_)) => continue,
            Some(Err(error)) => break Err(error.to_string()),
        };
        let bytes = frame.slice(1..);
        match frame[0] {
            STDOUT if !bytes.is_empty() => out.hand_on(bytes).await,
            STDERR if !bytes.is_empty() => errors.hand_on(bytes).await,
            STATUS if !bytes.is_empty() => {
                break serde_json::from_slice(&bytes)
                    .map_err(|e| format!("the status that came is not one: {e}"));
            }
            _ => {}
        }
        since = Instant::now();
    };
    tokio::join!(out.finish(), errors.finish());
    end
}

/// A channel whose reader may take hours. Where nothing is read from a connection for so long, the kubelet takes it for idle and
/// ends it, and says that the program ended well: so a frame is taken in now and then, though nobody wants it yet.
struct Slow {
    feed: Feed,
    held: VecDeque<Bytes>,
}

impl Slow {
    fn new(feed: Feed) -> Self {
        Self { feed, held: VecDeque::new() }
    }

    /// Hands on what is there; returns with some of it left when that takes too long.
    async fn hand_on(&mut self, bytes: Bytes) {
        self.held.push_back(bytes);
        let _ = tokio::time::timeout(TRICKLE, self.finish()).await;
    }

    /// Hands on all that is there.
    async fn finish(&mut self) {
        while !self.held.is_empty() {
            match self.feed.reserve().await {
                Ok(room) => room.send(Ok(self.held.pop_front().unwrap_or_default())),
                // Nobody listening there is no reason to end.
                Err(_) => self.held.clear(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures::stream;
    use tokio::io::AsyncReadExt;
    use tokio_tungstenite::tungstenite;

    use super::*;

    const LIMIT: Option<Duration> = Some(Duration::from_secs(60));

    fn frame(channel: u8, bytes: &[u8]) -> Frame {
        Ok(Message::binary([&[channel], bytes].concat()))
    }

    /// A frame every 50 seconds, then nothing for ever.
    fn slowly(frames: Vec<Frame>) -> impl Stream<Item = Frame> + Unpin {
        let slow = stream::iter(frames).then(|frame| async {
            tokio::time::sleep(Duration::from_secs(50)).await;
            frame
        });
        Box::pin(slow.chain(stream::pending()))
    }

    #[tokio::test]
    async fn only_a_status_is_an_end() {
        let success = br#"{"status":"Success"}"#;
        for (last, told) in [
            (frame(STATUS, success), Ok(())),
            (frame(STATUS, b"{"), Err("is not one")),
            (Ok(Message::Close(None)), Err("it was closed")),
            (Err(tungstenite::Error::ConnectionClosed), Err("closed")),
        ] {
            let (out, mut stdout) = Channel::new();
            let (errors, _stderr) = Channel::new();
            let frames = stream::iter([frame(STDOUT, b""), frame(STDOUT, b"some"), frame(9, b"?"), last]);
            let end = read(frames, out, errors, LIMIT).await;
            let mut text = String::new();
            stdout.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "some");
            match told {
                Ok(()) => assert_eq!(end.unwrap().status.as_deref(), Some("Success")),
                Err(why) => assert!(end.unwrap_err().contains(why)),
            }
        }
    }

    /// Signs of life on any channel count; the API server's own pongs do not.
    #[tokio::test(start_paused = true)]
    async fn silence_is_an_end_in_time() {
        let (out, _stdout) = Channel::new();
        let (errors, _stderr) = Channel::new();
        let begun = Instant::now();
        let frames = slowly(vec![frame(STDOUT, b"a"), frame(STDERR, b"b"), Ok(Message::Pong(Bytes::new()))]);
        let end = read(frames, out, errors, LIMIT).await;
        assert_eq!(end.unwrap_err(), "nothing came for 60 s");
        assert_eq!(begun.elapsed(), Duration::from_secs(50 + 50 + 60));
    }

    /// Whoever reads may take hours over it. Little is taken in meanwhile, and that in its order.
    #[tokio::test(start_paused = true)]
    async fn a_reader_that_is_slow_is_no_silence() {
        let (out, mut stdout) = Channel::new();
        let (errors, _stderr) = Channel::new();
        let taken = Arc::new(AtomicUsize::new(0));
        let frames = (0..100).map(|n| frame(STDOUT, &[n; 1000])).chain([frame(STATUS, b"{}")]);
        let frames = stream::iter(frames.collect::<Vec<_>>()).inspect({
            let taken = taken.clone();
            move |_| {
                taken.fetch_add(1, Ordering::Relaxed);
            }
        });
        let reading = tokio::spawn(read(frames, out, errors, LIMIT));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let full = taken.load(Ordering::Relaxed);
        tokio::time::sleep(TRICKLE * 10).await;
        assert_eq!(taken.load(Ordering::Relaxed), full + 10);
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, (0..100).flat_map(|n| [n; 1000]).collect::<Vec<u8>>());
        assert!(reading.await.unwrap().is_ok());
    }

    /// Nobody takes standard output: it goes nowhere, and the program ends.
    #[tokio::test]
    async fn what_nobody_takes_is_thrown_away() {
        let (out, stdout) = Channel::new();
        let (errors, stderr) = Channel::new();
        drop((stdout, stderr));
        let many = (0..100).map(|_| frame(STDOUT, &[7; 1000])).chain([frame(STATUS, b"{}")]);
        assert!(read(stream::iter(many.collect::<Vec<_>>()), out, errors, LIMIT).await.is_ok());
    }
}
