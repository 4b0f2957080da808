//! The one task that owns the scheduler and knows every connection: events in, messages out.
//!
//! Connections never wait for each other here: a message goes into the receiver's bounded outbox
//! or, if that is full, the receiver is let go.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use potluck_protocol::id::NodeId;
use potluck_protocol::server::{FromServer, SignedSignal, ToServer};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::scheduler::{Action, Event, Scheduler, Standing, SwarmView};
use crate::store::Store;

/// How to reach the hub.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    messages: mpsc::Sender<Message>,
    next_connection: Arc<AtomicU64>,
}

/// Tells the connections of one node apart: what comes late from an old one is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId(u64);

#[derive(Debug)]
enum Message {
    Join { node: NodeId, connection: ConnectionId, outbox: mpsc::Sender<FromServer> },
    Leave { node: NodeId, connection: ConnectionId },
    Received { node: NodeId, connection: ConnectionId, message: ToServer },
    Signal { from: NodeId, to: NodeId, signal: SignedSignal },
    View { reply: oneshot::Sender<SwarmView> },
}

/// Messages on their way to the hub; when it is full, connections wait, and so their peers' sockets
/// do.
const HUB_QUEUE: usize = 1024;
/// Messages on their way to a connection: a route's signals for the longest pipeline, and some.
pub(crate) const OUTBOX: usize = 512;
/// The scheduler is woken at least so often.
const IDLE_TICK: Duration = Duration::from_secs(3600);

impl Hub {
    /// Starts the hub; it ends when the last handle is gone.
    pub(crate) fn start(scheduler: Scheduler, store: Store) -> Self {
        let (messages, receiver) = mpsc::channel(HUB_QUEUE);
        let task = HubTask { scheduler, store, connections: HashMap::new(), start: Instant::now() };
        tokio::spawn(task.run(receiver));
        Self { messages, next_connection: Arc::default() }
    }

    /// Announces a connection of a node that proved its key. The hub drops `outbox` when it lets
    /// the connection go, so nobody else may keep a sender alive.
    pub(crate) async fn join(
        &self,
        node: NodeId,
        outbox: mpsc::Sender<FromServer>,
    ) -> ConnectionId {
        let connection = ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed));
        self.send(Message::Join { node, connection, outbox }).await;
        connection
    }

    pub(crate) async fn leave(&self, node: NodeId, connection: ConnectionId) {
        self.send(Message::Leave { node, connection }).await;
    }

    /// Passes on what a node sent, to be scheduled.
    pub(crate) async fn receive(&self, node: NodeId, connection: ConnectionId, message: ToServer) {
        self.send(Message::Received { node, connection, message }).await;
    }

    pub(crate) async fn signal(&self, from: NodeId, to: NodeId, signal: SignedSignal) {
        self.send(Message::Signal { from, to, signal }).await;
    }

    /// The swarm now; `None` while the server shuts down.
    pub(crate) async fn view(&self) -> Option<SwarmView> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::View { reply }).await;
        answer.await.ok()
    }

    async fn send(&self, message: Message) {
        // The hub ends only with the process; then nobody needs the answer.
        let _ = self.messages.send(message).await;
    }
}

struct HubTask {
    scheduler: Scheduler,
    store: Store,
    connections: HashMap<NodeId, (ConnectionId, mpsc::Sender<FromServer>)>,
    start: Instant,
}

impl HubTask {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        loop {
            let tick = self.start
                + self.scheduler.next_tick().unwrap_or_else(|| self.start.elapsed() + IDLE_TICK);
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.handle(message).await,
                    None => return,
                },
                () = tokio::time::sleep_until(tick) => {}
            }
            let actions = self.scheduler.tick(self.start.elapsed());
            self.act(actions).await;
        }
    }

    async fn handle(&mut self, message: Message) {
        match message {
            Message::Join { node, connection, outbox } => {
                if let Some((_, old)) = self.connections.insert(node, (connection, outbox)) {
                    let reason =
                        "this identity connected elsewhere; one connection an identity".to_owned();
                    // If its outbox is full, it is closed without the sentence.
                    let _ = old.try_send(FromServer::Refused { reason, retry_after_ms: None });
                    self.schedule(node, Event::Left).await;
                }
                self.schedule(node, Event::Joined(Standing::default())).await;
            }
            Message::Leave { node, connection } => {
                if self.is_current(node, connection) {
                    self.connections.remove(&node);
                    self.schedule(node, Event::Left).await;
                }
            }
            Message::Received { node, connection, message } => {
                if self.is_current(node, connection) {
                    self.schedule(node, Event::Received(message)).await;
                }
            }
            Message::Signal { from, to, signal } => {
                // Only peers of one session may signal each other. A signal that comes long after the
                // session's end is nobody's fault, so it is dropped without a word.
                if self.scheduler.share_session(from, to, self.start.elapsed()) {
                    self.send(to, FromServer::Signal { from, signal }).await;
                }
            }
            Message::View { reply } => {
                // Whoever asked may have gone.
                let _ = reply.send(self.scheduler.view(self.start.elapsed(), usize::MAX));
            }
        }
    }

    fn is_current(&self, node: NodeId, connection: ConnectionId) -> bool {
        self.connections.get(&node).is_some_and(|(current, _)| *current == connection)
    }

    async fn schedule(&mut self, node: NodeId, event: Event) {
        match self.scheduler.handle(node, event, self.start.elapsed()) {
            Ok(actions) => self.act(actions).await,
            Err(fault) => {
                let reason = fault.to_string();
                self.send(node, FromServer::Refused { reason, retry_after_ms: None }).await;
            }
        }
    }

    async fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(node, message) => {
                    if let FromServer::Serve { session, .. } = &message
                        && session.stages.first().is_some_and(|stage| stage.node == node)
                        // The receipts of a session that is not kept would be refused; the answer
                        // itself is not in danger.
                        && let Err(error) = self.store.save_session(session).await
                    {
                        tracing::error!(
                            %error,
                            "could not keep a session: its work will not be credited"
                        );
                    }
                    self.send(node, message).await;
                }
            }
        }
    }

    async fn send(&mut self, node: NodeId, message: FromServer) {
        let Some((_, outbox)) = self.connections.get(&node) else { return };
        if outbox.try_send(message).is_err() {
            tracing::warn!(node = %node.short(), "a connection does not read; it is let go");
            self.connections.remove(&node);
            // Boxed, as leaving sends to others in turn.
            Box::pin(self.schedule(node, Event::Left)).await;
        }
    }
}

#[cfg(test)]
mod tests;
