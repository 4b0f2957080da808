//! The WebSocket to the server.
//!
//! Whether a silent server is still there is the node's to judge, by messages that both ends see
//! and not by pings; here pings are answered, and a dial and a write have their time. Reading goes
//! on while a message waits to be written, so that the two ends never wait for each other.

use core::time::Duration;
use std::sync::Arc;

use futures::{SinkExt as _, StreamExt as _};
use potluck_protocol::codec::MAX_SERVER_MESSAGE_BYTES;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};

use super::patience::in_time;
use super::{NetConfig, tls};
use crate::Event;
use crate::events::{ConnectionId, EventSender};

/// Messages that may wait for the server. A node says a few a second; a server this far behind is
/// not there.
const MAX_WAITING_MESSAGES: usize = 1024;
/// Messages of the server that may wait for the node; beyond that it is not read from.
const MAX_UNREAD_MESSAGES: usize = 256;
/// How long the farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The node's end of the link. Dropping it sends what is left to send and hangs up.
#[derive(Debug)]
pub(super) struct ServerLink {
    /// `None` after the server fell too far behind.
    messages: Option<mpsc::Sender<Vec<u8>>>,
    /// Dropped with this, which ends a dial that is still under way.
    _held: oneshot::Sender<()>,
    unread: Arc<Semaphore>,
    events: EventSender,
}

impl ServerLink {
    /// Dials.
    pub(super) fn open(url: &str, config: &Arc<NetConfig>, events: EventSender) -> Self {
        let (messages, receiver) = mpsc::channel(MAX_WAITING_MESSAGES);
        let (held, dropped) = oneshot::channel();
        let unread = Arc::new(Semaphore::new(MAX_UNREAD_MESSAGES));
        let link = Link {
            config: Arc::clone(config),
            events: events.clone(),
            messages: receiver,
            unread: Arc::clone(&unread),
            dropped,
        };
        let url = url.to_owned();
        tokio::spawn(async move { link.run(&url).await });
        Self { messages: Some(messages), _held: held, unread, events }
    }

    /// Which of the transport's connections this is.
    pub(super) fn connection(&self) -> ConnectionId {
        self.events.connection()
    }

    /// The node took a message: there is room for another.
    pub(super) fn message_read(&self) {
        self.unread.add_permits(1);
    }

    pub(super) fn send(&mut self, message: Vec<u8>) {
        let Some(messages) = &self.messages else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = messages.try_send(message) {
            self.messages = None;
            let reason =
                format!("the server does not take messages; {MAX_WAITING_MESSAGES} were waiting");
            self.events.send(Event::ServerClosed { reason });
        }
    }
}

struct Link {
    config: Arc<NetConfig>,
    events: EventSender,
    messages: mpsc::Receiver<Vec<u8>>,
    /// One permit for each message that may still come before the node has taken one.
    unread: Arc<Semaphore>,
    dropped: oneshot::Receiver<()>,
}

impl Link {
    async fn run(mut self, url: &str) {
        if let Err(reason) = self.serve(url).await {
            self.events.send(Event::ServerClosed { reason });
        }
    }

    /// Returns when the node hangs up; an error says why the server is gone.
    async fn serve(&mut self, url: &str) -> Result<(), String> {
        let Some(socket) = self.dial(url).await? else { return Ok(()) };
        self.events.send(Event::ServerOpen);
        let (mut sink, mut stream) = socket.split();
        let patience = self.config.server_timeout;
        let writing = async {
            while let Some(message) = self.messages.recv().await {
                write(&mut sink, Message::Binary(message.into()), patience).await?;
            }
            let _ = timeout(FAREWELL, sink.close()).await;
            Ok(())
        };
        tokio::select! {
            reason = read(&mut stream, &self.unread, &self.events) => Err(reason),
            hung_up = writing => hung_up,
        }
    }

    /// `None` if the node hung up meanwhile.
    async fn dial(&mut self, url: &str) -> Result<Option<Socket>, String> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_SERVER_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_SERVER_MESSAGE_BYTES));
        let connector = Connector::Rustls(tls::client_config());
        // Without Nagle's delay: messages are small, and somebody waits for most of them.
        let dialled = connect_async_tls_with_config(url, Some(config), true, Some(connector));
        let seconds = self.config.server_timeout.as_secs_f32();
        tokio::select! {
            dialled = in_time(self.config.server_timeout, dialled) => match dialled {
                Some(Ok((socket, _))) => Ok(Some(socket)),
                Some(Err(error)) => Err(format!("could not reach the server: {error}")),
                None => Err(format!("the server did not answer within {seconds} s")),
            },
            _ = &mut self.dropped => Ok(None),
        }
    }
}

/// Passes on what the server says, until it is gone; why it is.
async fn read(
    stream: &mut futures::stream::SplitStream<Socket>,
    unread: &Semaphore,
    events: &EventSender,
) -> String {
    loop {
        match next(stream, unread).await {
            Ok(Some(message)) => events.send(Event::ServerMessage { message }),
            Ok(None) => {}
            Err(reason) => return reason,
        }
    }
}

/// The next message, for which it takes a permit; `None` for what is not the node's to read.
async fn next(
    stream: &mut futures::stream::SplitStream<Socket>,
    unread: &Semaphore,
) -> Result<Option<Vec<u8>>, String> {
    let permit = unread.acquire().await.map_err(|error| error.to_string())?;
    match stream.next().await {
        Some(Ok(Message::Binary(message))) => {
            permit.forget(); // the transport gives it back when the node takes the message
            Ok(Some(message.into()))
        }
        Some(Ok(Message::Close(Some(frame)))) => {
            Err(format!("the server hung up: {} {}", frame.code, frame.reason))
        }
        Some(Ok(Message::Close(None))) | None => Err("the server hung up".to_owned()),
        Some(Ok(_)) => Ok(None), // pings are answered by the socket itself; text is not ours
        Some(Err(error)) => Err(format!("the connection to the server broke: {error}")),
    }
}

async fn write(
    sink: &mut futures::stream::SplitSink<Socket, Message>,
    message: Message,
    patience: Duration,
) -> Result<(), String> {
    match in_time(patience, sink.send(message)).await {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(format!("the connection to the server broke: {error}")),
        None => Err(format!("the server took no message for {} s", patience.as_secs_f32())),
    }
}
