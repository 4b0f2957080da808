//! The one task that owns the scheduler and knows every connection: events in, messages out.
//!
//! Connections never wait for each other here: a message goes into the receiver's bounded outbox
//! or, if that is full, the receiver is let go.

use std::collections::HashMap;
use std::time::Duration;

use potluck_protocol::id::NodeId;
use potluck_protocol::server::{FromServer, SignedSignal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::scheduler::{Action, Event, Scheduler, SwarmView};
use crate::store::Store;

/// How to reach the hub.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    messages: mpsc::Sender<Message>,
}

#[derive(Debug)]
enum Message {
    Join { node: NodeId, connection: u64, outbox: mpsc::Sender<FromServer> },
    Left { node: NodeId, connection: u64 },
    Event { node: NodeId, connection: u64, event: Event },
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
        let work = Work { scheduler, store, connections: HashMap::new(), start: Instant::now() };
        tokio::spawn(work.run(receiver));
        Self { messages }
    }

    pub(crate) async fn join(
        &self,
        node: NodeId,
        connection: u64,
        outbox: mpsc::Sender<FromServer>,
    ) {
        self.say(Message::Join { node, connection, outbox }).await;
    }

    pub(crate) async fn left(&self, node: NodeId, connection: u64) {
        self.say(Message::Left { node, connection }).await;
    }

    pub(crate) async fn event(&self, node: NodeId, connection: u64, event: Event) {
        self.say(Message::Event { node, connection, event }).await;
    }

    pub(crate) async fn signal(&self, from: NodeId, to: NodeId, signal: SignedSignal) {
        self.say(Message::Signal { from, to, signal }).await;
    }

    /// The swarm now; `None` while the server shuts down.
    pub(crate) async fn view(&self) -> Option<SwarmView> {
        let (reply, answer) = oneshot::channel();
        self.say(Message::View { reply }).await;
        answer.await.ok()
    }

    async fn say(&self, message: Message) {
        // The hub ends only with the process; then nobody needs the answer.
        let _ = self.messages.send(message).await;
    }
}

struct Work {
    scheduler: Scheduler,
    store: Store,
    connections: HashMap<NodeId, (u64, mpsc::Sender<FromServer>)>,
    start: Instant,
}

impl Work {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        loop {
            let tick = self.start
                + self.scheduler.next_tick().unwrap_or_else(|| self.start.elapsed() + IDLE_TICK);
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.take(message).await,
                    None => return,
                },
                () = tokio::time::sleep_until(tick) => {}
            }
            let actions = self.scheduler.tick(self.start.elapsed());
            self.act(actions).await;
        }
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Join { node, connection, outbox } => {
                if let Some((_, old)) = self.connections.insert(node, (connection, outbox)) {
                    let reason =
                        "this identity connected elsewhere; one connection an identity".to_owned();
                    let _ = old.try_send(FromServer::Refused { reason });
                    self.event(node, Event::Left).await;
                }
                self.event(node, Event::Joined).await;
            }
            Message::Left { node, connection } => {
                if self.is_current(node, connection) {
                    self.connections.remove(&node);
                    self.event(node, Event::Left).await;
                }
            }
            Message::Event { node, connection, event } => {
                if self.is_current(node, connection) {
                    self.event(node, event).await;
                }
            }
            Message::Signal { from, to, signal } => {
                // Between peers of one session only; a signal that comes after its session's end is
                // nobody's fault.
                if self.scheduler.share_session(from, to) {
                    self.send(to, FromServer::Signal { from, signal }).await;
                }
            }
            Message::View { reply } => {
                let _ = reply.send(self.scheduler.view(self.start.elapsed()));
            }
        }
    }

    fn is_current(&self, node: NodeId, connection: u64) -> bool {
        self.connections.get(&node).is_some_and(|(current, _)| *current == connection)
    }

    async fn event(&mut self, node: NodeId, event: Event) {
        match self.scheduler.handle(node, event, self.start.elapsed()) {
            Ok(actions) => self.act(actions).await,
            Err(fault) => self.send(node, FromServer::Refused { reason: fault.to_string() }).await,
        }
    }

    async fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Open(session) => {
                    // Unkept, its receipts would be refused; the answer itself is not in danger.
                    if let Err(error) = self.store.save_session(&session).await {
                        tracing::error!(%error, "could not keep a session: its work will not be credited");
                    }
                }
                Action::Send(node, message) => self.send(node, message).await,
            }
        }
    }

    async fn send(&mut self, node: NodeId, message: FromServer) {
        let Some((_, outbox)) = self.connections.get(&node) else { return };
        if outbox.try_send(message).is_err() {
            tracing::warn!(node = %node.short(), "a connection does not read; it is let go");
            self.connections.remove(&node);
            // Boxed, as leaving sends to others in turn.
            Box::pin(self.event(node, Event::Left)).await;
        }
    }
}
