//! Connections.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use backup_core::{
    traits::Context,
    words::{Error, Result},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Installation, Live, Settings,
    guard::Peer,
    router::{Site, router},
    tls,
};

/// So many connections there are at once; others wait.
const CONNECTIONS: usize = 256;
/// How long a caller may take for its greeting, and for the head of a request.
const HEAD: Duration = Duration::from_secs(15);
/// How long answers may take to end when the dashboard is stopped.
const ENDING: Duration = Duration::from_secs(5);

/// A dashboard that is served.
#[derive(Debug)]
pub struct Dashboard {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Dashboard {
    /// Binds, and serves in the background until [`stop`](Self::stop) or until `cx` is cancelled.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](backup_core::words::ErrorKind) when these settings would show it to strangers, or its certificate cannot be used; any kind when
    /// the address cannot be bound.
    pub async fn start(
        settings: Settings,
        installation: Arc<dyn Installation>,
        live: Live,
        cx: &Context,
    ) -> Result<Self> {
        settings.check()?;
        let acceptor = settings.tls.as_ref().map(tls::acceptor).transpose()?;
        let listen = settings.listen;
        let listener = TcpListener::bind(listen).await.map_err(|e| cannot_bind(listen, e))?;
        let address = listener.local_addr().map_err(|e| cannot_bind(listen, e))?;
        let stop = cx.cancel.child_token();
        let cx = cx.clone().with_cancel(stop.clone());
        let site = Site::new(settings, installation, live, cx);
        // Whoever comes first need not wait then.
        site.cache.refresh();
        let router = router(site);
        let serving = tokio::spawn(serve(listener, acceptor, router, stop.clone()));
        Ok(Self { address, stop, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it has ended, because its context was cancelled.
    pub async fn ended(&mut self) {
        // A task that panicked has ended too.
        let _ = (&mut self.serving).await;
    }

    /// Ends it: what is being answered gets a few seconds.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.ended().await;
    }
}

fn cannot_bind(listen: SocketAddr, error: std::io::Error) -> Error {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "something else listens there: choose another `listen` in [dashboard]"
        }
        _ => "choose another `listen` in [dashboard]",
    };
    Error::io("open the dashboard", listen.to_string(), error).hint(hint)
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router, stop: CancellationToken) {
    let (places, open) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
        open.spawn(async move {
            match tls {
                None => connection(stream, peer, router, stop).await,
                Some(tls) => match tokio::time::timeout(HEAD, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(stream, peer, router, stop).await,
                    Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS connection came about"),
                    Err(_) => tracing::debug!(%peer, "no TLS greeting in time"),
                },
            }
            drop(place);
        });
    }
    drop(listener);
    open.close();
    let _ = tokio::time::timeout(ENDING, open.wait()).await;
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<Accepted> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            // Out of descriptors, most likely: that passes.
            tracing::warn!(%error, "the dashboard cannot take a connection");
            tokio::time::sleep(Duration::from_millis(500)).await;
            None
        }
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    router: Router,
    stop: CancellationToken,
) {
    let router = tower_with_peer(router, peer);
    let mut serving = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    let done = tokio::select! {
        done = serving.as_mut() => done,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = done {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}

/// The router, told of each request where it came from.
fn tower_with_peer(router: Router, peer: SocketAddr) -> Router {
    router.layer(axum::Extension(Peer(peer)))
}
