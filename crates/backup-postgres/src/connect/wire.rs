//! An open connection as a type of its own.

use std::{
    io::Result,
    pin::Pin,
    task::{Context, Poll},
};

use backup_core::traits::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An open connection, encrypted or not. A type without a trait object in its name: TLS asks for `'static` streams, which
/// the compiler cannot prove of a boxed trait object across an await.
pub(crate) struct Wire(pub(crate) Box<dyn Connection>);

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
