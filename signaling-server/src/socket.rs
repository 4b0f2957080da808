//! One WebSocket: origin, permit, handshake, then messages to the hub and back, until either side
//! ends it.
//!
//! Whatever is wrong ends this connection with a sentence and with when to come back, and disturbs no
//! other. A browser sees nothing of a refused upgrade, so those who cannot be let in are told on a
//! socket too, as long as they are few at a time.
//!
//! | file | what |
//! |---|---|
//! | `handshake` | versions, challenge, proof, welcome |
//! | `exchange` | messages of a proved node |
//! | `doors` | a newcomer and the member who lets it into a room |
//! | `silence`, `rate` | when a node counts as gone, and how often it may say what |
//! | `receipts` | from a receipt to its verdict |
//! | `frames` | messages as frames, and the last one |
//! | `open` | how many are open |

mod doors;
mod exchange;
mod frames;
mod handshake;
mod open;
mod rate;
mod receipts;
mod silence;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use potluck_protocol::codec::MAX_SERVER_MESSAGE_BYTES;
use potluck_protocol::id::NodeId;
use tokio::sync::{mpsc, oneshot};

use crate::app::App;
use crate::client_address::ClientAddress;
use crate::ending::Ending;
use crate::http::error::HttpError;
use crate::hub::{Link, OUTBOX};
use crate::origin::Arrival;
use crate::scheduler::Standing;
use exchange::{Arrived, FromHub, exchange};
use handshake::{Proved, handshake};
use open::Open;

pub(crate) use doors::Doors;
pub(crate) use open::Sockets;

/// Bytes that are read and written at a time. A WebSocket keeps a buffer of that size for ever, and
/// hardly any message is longer; one that is makes the buffer grow.
const SOCKET_BUFFER_BYTES: usize = 2 * 1024;
/// How long what a node has earned is looked for before it joins without.
const STANDING_LIMIT: Duration = Duration::from_secs(1);

/// `GET /api/v1/socket`.
pub(crate) async fn upgrade(
    State(app): State<Arc<App>>,
    Extension(address): Extension<ClientAddress>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    socket: WebSocketUpgrade,
) -> Result<Response, HttpError> {
    let socket = socket
        .read_buffer_size(SOCKET_BUFFER_BYTES)
        .write_buffer_size(SOCKET_BUFFER_BYTES)
        .max_message_size(MAX_SERVER_MESSAGE_BYTES)
        .max_frame_size(MAX_SERVER_MESSAGE_BYTES);
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let permit = app.config.origins.check_page_origin(origin, &arrival).map_err(Ending::later);
    let permit = permit.and_then(|()| {
        app.limiter.acquire(address).map_err(|limit| Ending::busy(limit.sentence()))
    });
    let permit = match permit {
        Ok(permit) => permit,
        Err(ending) => return turn_away(app, socket, ending),
    };
    Ok(socket.on_upgrade(move |mut socket| async move {
        let _open = Open::new(Arc::clone(&app));
        let _permit = permit;
        let is_own = |origin: &str| app.config.origins.is_own_origin(origin, &arrival);
        // Boxed: what takes a moment should not take room for as long as the connection lasts.
        let ending = match Box::pin(handshake(&mut socket, &app, is_own)).await {
            Ok(proved) => {
                let credited_macs = Box::pin(earned(&app, proved.node)).await;
                let standing = Standing { credited_macs, address: Some(address.key()) };
                serve(&mut socket, &app, proved, standing).await
            }
            Err(ending) => ending,
        };
        Box::pin(frames::finish(&mut socket, ending)).await;
    }))
}

/// Lets the socket be opened, and closes it with the sentence, as far as there is room for that.
fn turn_away(
    app: Arc<App>,
    socket: WebSocketUpgrade,
    ending: Ending,
) -> Result<Response, HttpError> {
    let Some(room) = app.sockets.turn_away() else {
        return Err(HttpError::Busy("this server turns many away now; try again later"));
    };
    Ok(socket.on_upgrade(move |mut socket| async move {
        let _open = Open::new(app);
        let _room = room;
        frames::finish(&mut socket, ending).await;
    }))
}

/// What a node has earned so far; a disk that fails keeps nobody out.
async fn earned(app: &App, node: NodeId) -> u64 {
    match tokio::time::timeout(STANDING_LIMIT, app.store.earned_macs(node)).await {
        Ok(Ok(macs)) => macs,
        Ok(Err(error)) => {
            tracing::warn!(%error, "could not read what a node has earned");
            0
        }
        Err(_) => {
            tracing::warn!("the database is too slow to say what a node has earned");
            0
        }
    }
}

/// From the proof of the key to the end.
async fn serve(
    socket: &mut WebSocket,
    app: &Arc<App>,
    proved: Proved,
    standing: Standing,
) -> Ending {
    let Proved { node, connection, origin, room, until_s } = proved;
    let arrived = Arrived { origin, address: standing.address, until_s };
    let (outbox, inbox) = mpsc::channel(OUTBOX);
    let answers = outbox.downgrade();
    let (end, ended) = oneshot::channel();
    let member = room.hub.join(node, connection, standing, Link { outbox, end }).await;
    let from_hub = FromHub { inbox, answers, end: ended };
    let ending = exchange(socket, app, (&room, &member), arrived, from_hub).await;
    member.leave().await;
    ending
}
