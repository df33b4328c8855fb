//! What comes out of a WebSocket's channels, and the WebSocket itself.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{SinkExt, Stream, stream::SplitSink};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, DuplexStream, ReadBuf},
    sync::mpsc,
    time::Instant,
};
use tokio_tungstenite::{WebSocketStream, tungstenite};
use tokio_util::io::StreamReader;
use tungstenite::Message;

/// How many frames wait for their reader. Each holds up to 32 KiB.
const WAITING: usize = 8;
/// What is read at a time to be sent.
const PIECE: usize = 32 << 10;
/// How often the other side is shown that we are there: proxies between end what is silent.
const PING: Duration = Duration::from_secs(20);

/// A WebSocket to the API server.
pub(super) type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// What comes over one.
pub(super) type Frame = std::result::Result<Message, tungstenite::Error>;

/// Where the bytes of a channel are put.
pub(super) type Feed = mpsc::Sender<io::Result<Bytes>>;

/// One channel, read as bytes. It ends when its feed is dropped.
pub(crate) struct Channel(StreamReader<Pieces, Bytes>);

impl Channel {
    /// A channel and where its bytes are put.
    pub(super) fn new() -> (Feed, Self) {
        let (feed, pieces) = mpsc::channel(WAITING);
        (feed, Self(StreamReader::new(Pieces(pieces))))
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(task, buffer)
    }
}

struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(task)
    }
}

/// Sends what `input` gives on channel 0, `signs` of life now and then, and `at_end` when the input ends. It goes on with the
/// signs then, and returns only when the connection breaks.
pub(super) async fn send(
    mut sink: SplitSink<Socket, Message>,
    input: &mut DuplexStream,
    at_end: Option<Message>,
    signs: &[Message],
) -> tungstenite::Error {
    let mut ticks = tokio::time::interval_at(Instant::now() + PING, PING);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut at_end = Some(at_end);
    let mut frame = Vec::with_capacity(PIECE);
    loop {
        frame.clear();
        frame.push(0);
        let sent = tokio::select! {
            read = input.read_buf(&mut frame), if at_end.is_some() => match read {
                Ok(1..) => sink.send(Message::binary(std::mem::replace(&mut frame, Vec::with_capacity(PIECE)))).await,
                // The other end of a pipe in memory went away: that is its end.
                _ => match at_end.take().flatten() {
                    Some(end) => sink.send(end).await,
                    None => continue,
                },
            },
            _ = ticks.tick() => {
                let mut signs = futures::stream::iter(signs.iter().cloned().map(Ok));
                sink.send_all(&mut signs).await
            }
        };
        if let Err(error) = sent {
            return error;
        }
    }
}
