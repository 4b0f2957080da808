//! The one task that owns the scheduler and knows every connection: events in, messages out.
//!
//! It waits for nothing but the next message: not for the disk, and not for connections, whose
//! bounded outboxes take a message or are let go. What a connection may have waiting here is bounded
//! too, so that one that floods delays itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use potluck_protocol::id::{NodeId, SessionId};
use potluck_protocol::server::{FromServer, SignedSignal, ToServer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::ending::Ending;
use crate::scheduler::{Action, Event, NodeView, Scheduler, Standing, SwarmView};

/// How to reach the hub.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    messages: mpsc::Sender<Message>,
    next_connection: Arc<AtomicU64>,
    start: Instant,
}

/// A connection of a node that proved its key, as long as the hub is to know of it.
#[derive(Debug)]
pub(crate) struct Member {
    hub: Hub,
    sender: Sender,
    /// What it may have waiting at the hub.
    share: Arc<Semaphore>,
}

/// How the hub reaches a connection. It is let go by dropping this.
#[derive(Debug)]
pub(crate) struct Link {
    /// Messages for the node. Boxed, as room for many is kept for every connection, and few are used.
    pub(crate) outbox: mpsc::Sender<Box<FromServer>>,
    /// Ends the connection at once, whatever is in its outbox.
    pub(crate) end: oneshot::Sender<Ending>,
}

/// A node, and which of its connections: what comes late from an old one is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sender {
    node: NodeId,
    connection: Number,
}

/// Of a connection, in the order in which keys were proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(u64);

#[derive(Debug)]
enum Message {
    Join {
        sender: Sender,
        standing: Standing,
        link: Link,
    },
    Leave {
        sender: Sender,
    },
    Received {
        sender: Sender,
        message: ToServer,
        _share: OwnedSemaphorePermit,
    },
    Signal {
        sender: Sender,
        to: NodeId,
        signal: SignedSignal,
        _share: OwnedSemaphorePermit,
    },
    Worked {
        stage: NodeId,
        session: SessionId,
        macs: u64,
    },
    View {
        listed: usize,
        reply: oneshot::Sender<SwarmView>,
    },
    Nodes {
        after: Option<NodeId>,
        limit: usize,
        reply: oneshot::Sender<Vec<NodeView>>,
    },
    Ping {
        reply: oneshot::Sender<()>,
    },
    Stop {
        told: oneshot::Sender<()>,
    },
    #[cfg(test)]
    Panic,
}

/// Messages on their way to the hub; when it is full, connections wait, and so their peers' sockets
/// do.
const HUB_QUEUE: usize = 1024;
/// Messages of one connection on their way to the hub: a small part of the queue, and more than a
/// node that keeps to the protocol ever has there.
const SHARE: usize = 16;
/// Messages on their way to a connection: a route's signals for the longest pipeline, and some.
pub(crate) const OUTBOX: usize = 512;
/// Above so many waiting messages no signals are added to an outbox: they are lost, as on a bad
/// network, and sent again; a peer that floods cannot have the connection let go.
const SIGNALS_IN_OUTBOX: usize = 128;
/// The scheduler is woken at least so often.
const IDLE_TICK: Duration = Duration::from_secs(3600);

impl Hub {
    /// Starts the hub; it ends when the last handle is gone. `now` of the scheduler counts from
    /// `start`.
    pub(crate) fn start(scheduler: Scheduler, start: Instant) -> Self {
        let (messages, receiver) = mpsc::channel(HUB_QUEUE);
        let task = HubTask {
            scheduler,
            connections: HashMap::new(),
            leaving: Vec::new(),
            stopping: false,
            start,
        };
        tokio::spawn(task.run(receiver));
        Self { messages, next_connection: Arc::default(), start }
    }

    /// A number for a connection whose node proved its key just now. Of two connections of a node the
    /// one with the higher number counts, however long each of them takes until it joins.
    pub(crate) fn number(&self) -> Number {
        Number(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// Announces a connection of a node that proved its key.
    pub(crate) async fn join(
        &self,
        node: NodeId,
        connection: Number,
        standing: Standing,
        link: Link,
    ) -> Member {
        let sender = Sender { node, connection };
        self.send(Message::Join { sender, standing, link }).await;
        Member { hub: self.clone(), sender, share: Arc::new(Semaphore::new(SHARE)) }
    }

    /// Tells of work that was credited to `stage` just now.
    pub(crate) async fn worked(&self, stage: NodeId, session: SessionId, macs: u64) {
        self.send(Message::Worked { stage, session, macs }).await;
    }

    /// The swarm now, its nodes listed if they are at most `listed`; `None` while the server shuts
    /// down.
    pub(crate) async fn view(&self, listed: usize) -> Option<SwarmView> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::View { listed, reply }).await;
        answer.await.ok()
    }

    /// The volunteers' nodes behind `after`, at most `limit`; `None` while the server shuts down.
    pub(crate) async fn nodes(&self, after: Option<NodeId>, limit: usize) -> Option<Vec<NodeView>> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Nodes { after, limit, reply }).await;
        answer.await.ok()
    }

    /// The scheduler's `now`.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// True if the hub answers within `limit`.
    pub(crate) async fn ping(&self, limit: Duration) -> bool {
        let (reply, answer) = oneshot::channel();
        let answer = async {
            self.send(Message::Ping { reply }).await;
            answer.await.is_ok()
        };
        tokio::time::timeout(limit, answer).await.unwrap_or(false)
    }

    /// False once its task has ended, which it does only by a panic.
    pub(crate) fn is_up(&self) -> bool {
        !self.messages.is_closed()
    }

    /// Waits until the hub's task ends, which it does only by a panic as long as there are handles:
    /// the server is of no use then.
    pub(crate) async fn ended(&self) {
        self.messages.closed().await;
    }

    /// Ends every connection, now and from now on, with a sentence and when to come back.
    pub(crate) async fn stop(&self) {
        let (told, all) = oneshot::channel();
        self.send(Message::Stop { told }).await;
        // An error means that the hub has ended, and its connections with it.
        let _ = all.await;
    }

    async fn send(&self, message: Message) {
        // The hub ends only with the process; then nobody needs the answer.
        let _ = self.messages.send(message).await;
    }
}

impl Member {
    pub(crate) fn node(&self) -> NodeId {
        self.sender.node
    }

    /// Passes on what the node sent, to be scheduled.
    pub(crate) async fn receive(&self, message: ToServer) {
        let Some(_share) = self.take_share().await else { return };
        self.hub.send(Message::Received { sender: self.sender, message, _share }).await;
    }

    /// Passes a signal on to a peer, if the two are in one session.
    pub(crate) async fn signal(&self, to: NodeId, signal: SignedSignal) {
        let Some(_share) = self.take_share().await else { return };
        self.hub.send(Message::Signal { sender: self.sender, to, signal, _share }).await;
    }

    /// The connection has ended.
    pub(crate) async fn leave(self) {
        self.hub.send(Message::Leave { sender: self.sender }).await;
    }

    async fn take_share(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.share).acquire_owned().await.ok()
    }
}

struct HubTask {
    scheduler: Scheduler,
    connections: HashMap<NodeId, (Number, Link)>,
    /// Nodes whose connections were let go, for the scheduler to be told.
    leaving: Vec<NodeId>,
    stopping: bool,
    start: Instant,
}

impl HubTask {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        loop {
            let tick = self.start
                + self.scheduler.next_tick().unwrap_or_else(|| self.start.elapsed() + IDLE_TICK);
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.handle(message),
                    None => return,
                },
                () = tokio::time::sleep_until(tick) => {}
            }
            let actions = self.scheduler.tick(self.start.elapsed());
            self.act(actions);
            // Each may let go others.
            while let Some(node) = self.leaving.pop() {
                self.schedule(node, Event::Left);
            }
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Join { sender, standing, link } => self.join(sender, standing, link),
            Message::Leave { sender } => {
                if self.is_current(sender) {
                    self.connections.remove(&sender.node);
                    self.schedule(sender.node, Event::Left);
                }
            }
            Message::Received { sender, message, _share } => {
                if self.is_current(sender) {
                    self.schedule(sender.node, Event::Received(message));
                }
            }
            Message::Signal { sender, to, signal, _share } => {
                // Only peers of one session may signal each other. A signal that comes long after the
                // session's end is nobody's fault, so it is dropped without a word.
                if self.is_current(sender)
                    && self.scheduler.share_session(sender.node, to, self.start.elapsed())
                    && self.has_room_for_signals(to)
                {
                    self.send(to, FromServer::Signal { from: sender.node, signal });
                }
            }
            Message::Worked { stage, session, macs } => {
                self.schedule(stage, Event::Worked { session, macs });
            }
            Message::View { listed, reply } => {
                // Whoever asked may have gone.
                let _ = reply.send(self.scheduler.view(self.start.elapsed(), listed));
            }
            Message::Nodes { after, limit, reply } => {
                let _ = reply.send(self.scheduler.nodes(after, limit, self.start.elapsed()));
            }
            Message::Ping { reply } => {
                let _ = reply.send(());
            }
            Message::Stop { told } => {
                self.stopping = true;
                for (_, (Number(connection), link)) in self.connections.drain() {
                    // It may have ended by itself.
                    let _ = link.end.send(Ending::stopping(connection));
                }
                let _ = told.send(());
            }
            #[cfg(test)]
            Message::Panic => panic!("as the test wants it"),
        }
    }

    fn join(&mut self, sender: Sender, standing: Standing, link: Link) {
        let Sender { node, connection } = sender;
        if self.stopping {
            let _ = link.end.send(Ending::stopping(connection.0));
            return;
        }
        let elsewhere =
            || Ending::for_good("this identity connected elsewhere; one connection an identity");
        if self.connections.get(&node).is_some_and(|(newer, _)| *newer > connection) {
            let _ = link.end.send(elsewhere());
            return;
        }
        if let Some((_, old)) = self.connections.insert(node, (connection, link)) {
            let _ = old.end.send(elsewhere());
            self.schedule(node, Event::Left);
        }
        self.schedule(node, Event::Joined(standing));
    }

    fn is_current(&self, sender: Sender) -> bool {
        self.connections.get(&sender.node).is_some_and(|(current, _)| *current == sender.connection)
    }

    fn has_room_for_signals(&self, node: NodeId) -> bool {
        self.connections.get(&node).is_some_and(|(_, link)| {
            link.outbox.max_capacity() - link.outbox.capacity() < SIGNALS_IN_OUTBOX
        })
    }

    fn schedule(&mut self, node: NodeId, event: Event) {
        match self.scheduler.handle(node, event, self.start.elapsed()) {
            Ok(actions) => self.act(actions),
            Err(fault) => self.let_go(node, Ending::later(fault.to_string())),
        }
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(node, message) => self.send(node, message),
            }
        }
    }

    fn send(&mut self, node: NodeId, message: FromServer) {
        let Some((_, link)) = self.connections.get(&node) else { return };
        if link.outbox.try_send(Box::new(message)).is_err() {
            tracing::warn!(node = %node.short(), "a connection does not read; it is let go");
            let reason = "this connection did not read what the server sent";
            self.let_go(node, Ending::soon(reason));
        }
    }

    fn let_go(&mut self, node: NodeId, ending: Ending) {
        if let Some((_, link)) = self.connections.remove(&node) {
            // It may have ended by itself.
            let _ = link.end.send(ending);
            self.leaving.push(node);
        }
    }
}

#[cfg(test)]
mod tests;
