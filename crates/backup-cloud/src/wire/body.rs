//! Bodies on their way: in small frames, at their pace, watched for silence.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpRequestBody};
use tokio::time::{Instant, Sleep};

use super::{broken, pace::Pace, silent};

/// The largest frame that is sent at once.
const FRAME: usize = 256 << 10;

/// When something last moved.
#[derive(Debug)]
pub(super) struct Progress(Mutex<Instant>);

impl Progress {
    pub(super) fn now() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn moved(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `answer`, unless nothing moved for `silence`.
    pub(super) async fn heard_within<T>(
        &self,
        silence: Duration,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return Some(answer),
                () = tokio::time::sleep_until(self.last() + silence) => {
                    if self.last().elapsed() >= silence {
                        return None;
                    }
                }
            }
        }
    }
}

/// A request's body.
pub(super) struct Sent {
    chunks: VecDeque<Bytes>,
    left: u64,
    pace: Option<Arc<Pace>>,
    wait: Option<Pin<Box<Sleep>>>,
    progress: Arc<Progress>,
}

impl Sent {
    pub(super) fn new(body: HttpRequestBody, pace: Option<Arc<Pace>>, progress: Arc<Progress>) -> Self {
        let left = body.content_length() as u64;
        let chunks = chunks(body);
        Self { chunks, left, pace, wait: None, progress }
    }

    /// The next bytes, whose turn it is.
    fn take(&mut self) -> Option<Bytes> {
        let frame = self.frame();
        let first = self.chunks.front_mut()?;
        let bytes = first.split_to(frame.min(first.len()));
        if first.is_empty() {
            self.chunks.pop_front();
        }
        self.left -= bytes.len() as u64;
        self.progress.moved();
        Some(bytes)
    }

    fn frame(&self) -> usize {
        self.pace.as_ref().map_or(FRAME, |pace| pace.slice().min(FRAME))
    }
}

/// The bytes of a body that is all there.
pub(super) fn chunks(mut body: HttpRequestBody) -> VecDeque<Bytes> {
    let mut chunks = VecDeque::new();
    let mut context = Context::from_waker(std::task::Waker::noop());
    // It never waits: it is in memory.
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
        if let Ok(bytes) = frame.into_data()
            && !bytes.is_empty()
        {
            chunks.push_back(bytes);
        }
    }
    chunks
}

impl Body for Sent {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if let (None, Some(pace), Some(first)) = (&this.wait, &this.pace, this.chunks.front()) {
            let at = pace.reserve(this.frame().min(first.len()));
            this.wait = Some(Box::pin(tokio::time::sleep_until(at)));
        }
        if let Some(wait) = &mut this.wait {
            ready!(wait.as_mut().poll(cx));
            this.wait = None;
        }
        Poll::Ready(this.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// An answer's body. The time counts only while somebody waits for the next bytes: a slow reader is no silence.
pub(super) struct Heard {
    inner: reqwest::Body,
    pace: Option<Arc<Pace>>,
    silence: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    held: Option<(Frame<Bytes>, Pin<Box<Sleep>>)>,
}

impl Heard {
    pub(super) fn new(inner: reqwest::Body, pace: Option<Arc<Pace>>, silence: Duration) -> Self {
        Self { inner, pace, silence, deadline: None, held: None }
    }
}

impl Body for Heard {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if let Some((_, until)) = &mut this.held {
            ready!(until.as_mut().poll(cx));
            return Poll::Ready(this.held.take().map(|(frame, _)| Ok(frame)));
        }
        let Poll::Ready(next) = Pin::new(&mut this.inner).poll_frame(cx) else {
            let silence = this.silence;
            let deadline = this.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(silence)));
            ready!(deadline.as_mut().poll(cx));
            return Poll::Ready(Some(Err(silent(silence))));
        };
        this.deadline = None;
        let frame = match next {
            None => return Poll::Ready(None),
            Some(Err(e)) => return Poll::Ready(Some(Err(broken(&e)))),
            Some(Ok(frame)) => frame,
        };
        let Some(pace) = &this.pace else { return Poll::Ready(Some(Ok(frame))) };
        let at = pace.reserve(frame.data_ref().map_or(0, Bytes::len));
        let mut until = Box::pin(tokio::time::sleep_until(at));
        if until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Ok(frame)));
        }
        this.held = Some((frame, until));
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
