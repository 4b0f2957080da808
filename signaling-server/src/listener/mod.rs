//! Accepts connections and reads requests from them, with a limit on everything that a stranger can
//! leave open: how many there are, how long the head of a request takes (the wait for the next one
//! included), how large it is, and how long an answer is not read.
//!
//! ```text
//! accept ─→ Connections: room? ─→ head in time? ─→ router ─→ answer, read in time? ─┐
//!              ▲     └ an idle one makes room         └ 101: a socket, counted there │
//!              └─────────────── the connection waits for its next request ──────────┘
//! ```

mod open_files;
mod stream;
mod waiting;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};

use crate::app::App;
use crate::client_address::{ClientAddress, is_trusted};
use crate::origin::Arrival;
use stream::TimedStream;
use waiting::{ConnectionId, Connections};

pub(crate) use open_files::provide_for;

/// Bytes of a request's head, and of what a connection buffers.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// After an error that says the machine has no more of something.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(250);
/// Idle connections that make room then, so that those who wait to be accepted come in soon.
const EVICTED_AFTER_ERROR: usize = 32;

type Shared = Arc<Mutex<Connections<Arc<Notify>>>>;

/// Serves until `stop`, and then for as long as open requests take.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let connections =
        Connections::new(app.config.max_http_connections, app.config.max_connections_per_address);
    let connections = Arc::new(Mutex::new(connections));
    // Every connection holds a sender; when all are gone, there is none any more.
    let (open, mut ended) = mpsc::channel::<Infallible>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let acceptance = Acceptance {
                    app: Arc::clone(&app),
                    router: router.clone(),
                    connections: Arc::clone(&connections),
                    stop: stop.clone(),
                };
                let open = open.clone();
                if let Some(connection) = acceptance.admit(stream, peer) {
                    tokio::spawn(async move {
                        connection.await;
                        drop(open);
                    });
                }
            }
            Err(error) => recover(&error, &connections).await,
        }
    }
    drop(open);
    // Always `None`, in the end.
    let _ = ended.recv().await;
}

/// An error is one connection's, or says that the machine has no more files or memory: then some
/// that nobody uses are closed, and the server goes on.
async fn recover(error: &io::Error, connections: &Shared) {
    let of_one_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    );
    if of_one_connection {
        return;
    }
    let evicted: Vec<_> = {
        let mut connections = lock(connections);
        std::iter::from_fn(|| connections.evict()).take(EVICTED_AFTER_ERROR).collect()
    };
    tracing::warn!(
        %error,
        closed_idle_ones = evicted.len(),
        "a connection could not be accepted; if this goes on, allow this process more open files"
    );
    evicted.iter().for_each(|evicted| evicted.notify_one());
    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
}

/// What a new connection is served with.
struct Acceptance {
    app: Arc<App>,
    router: Router,
    connections: Shared,
    stop: watch::Receiver<bool>,
}

impl Acceptance {
    /// Serves it, or closes it at once if there is no room: whoever opens so many reads no
    /// sentence.
    fn admit(
        self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let local = stream.local_addr().ok()?.ip();
        let proxied = is_trusted(peer.ip(), &self.app.config.trusted_proxies);
        let place = (!proxied).then(|| ClientAddress::new(peer.ip()).key());
        let end = Arc::new(Notify::new());
        let (id, evicted) = lock(&self.connections).open(place, Arc::clone(&end)).ok()?;
        if let Some(evicted) = evicted {
            evicted.notify_one();
        }
        let counted = Counted { connections: Arc::clone(&self.connections), id };
        // Answers are small, and a node waits for each.
        let _ = stream.set_nodelay(true);
        open_files::give_up_after(&stream, self.app.config.timeouts.write);
        Some(self.serve(stream, Peer { address: peer.ip(), local, proxied }, counted, end))
    }

    async fn serve(mut self, stream: TcpStream, peer: Peer, counted: Counted, end: Arc<Notify>) {
        let timeouts = self.app.config.timeouts;
        let router = TowerToHyperService::new(self.router);
        let service = service_fn(|request: Request<Incoming>| {
            let request = peer.describe(request, &self.app);
            let busy = counted.busy();
            let answer = router.call(request);
            async move {
                let answer = answer.await?;
                if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                    busy.release();
                    return Ok(answer.map(|body| Answer { body, busy: None }));
                }
                Ok::<_, Infallible>(answer.map(|body| Answer { body, busy: Some(busy) }))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(timeouts.head)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(TimedStream::new(stream, timeouts.write)), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        tokio::select! {
            // What goes wrong is over with the connection, and only theirs.
            _ = &mut connection => return,
            () = end.notified() => return,
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
struct Peer {
    address: IpAddr,
    local: IpAddr,
    proxied: bool,
}

impl Peer {
    /// Adds to a request whose it is and how it came.
    fn describe(self, mut request: Request<Incoming>, app: &App) -> Request<Incoming> {
        let headers = request.headers();
        let address = ClientAddress::of(self.address, headers, &app.config.trusted_proxies);
        let arrival = Arrival::of(headers, self.proxied, self.local);
        request.extensions_mut().insert(address);
        request.extensions_mut().insert(arrival);
        request
    }
}

/// A connection that is counted until this is dropped.
struct Counted {
    connections: Shared,
    id: ConnectionId,
}

impl Counted {
    fn busy(&self) -> Busy {
        lock(&self.connections).busy(self.id);
        Busy { connections: Arc::clone(&self.connections), id: self.id }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        lock(&self.connections).close(self.id);
    }
}

/// A request that is being answered; then its connection waits again.
struct Busy {
    connections: Shared,
    id: ConnectionId,
}

impl Busy {
    /// From now on the connection is a socket, and counted as such.
    fn release(&self) {
        lock(&self.connections).close(self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        lock(&self.connections).idle(self.id);
    }
}

/// The body of an answer: while it is being sent, the connection is busy.
struct Answer {
    body: Body,
    /// Dropped with the body, which is what it is for.
    #[expect(dead_code, reason = "its end is what counts")]
    busy: Option<Busy>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The counts; they are right even where a thread that held them panicked.
fn lock(connections: &Shared) -> MutexGuard<'_, Connections<Arc<Notify>>> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}
