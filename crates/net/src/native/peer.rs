//! One peer: its session, and the task that carries out what the session asks for.
//!
//! Whoever has something to report (the node, a channel's reader, WebRTC) calls [`Peer::handle`].
//! What the session wants done at once is put into queues under the same lock, so it keeps its
//! order; what takes time goes to the peer's own task.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use potluck_protocol::codec::MAX_PEER_FRAME_BYTES;
use potluck_protocol::id::NodeId;
use potluck_protocol::peer::Channel;
use potluck_protocol::server::{IceServer, Signal};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior};

use super::connection::{self, Connection};
use super::{Happened, NetConfig};
use crate::session::{Action, Candidate, Input, MAX_UNREAD_BYTES, PeerSession, TICK};
use crate::{Event, Role};

/// One peer, shared by the transport and the tasks that work for it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) connection: u64,
    pub(super) id: NodeId,
    ice_servers: Vec<IceServer>,
    started: Instant,
    session: Mutex<PeerSession>,
    outbound: mpsc::UnboundedSender<Happened>,
    steps: mpsc::Sender<Step>,
    writers: Mutex<Option<Writers>>,
    /// Which of this peer's WebRTC connections counts; rises when the peer begins anew.
    generation: AtomicU64,
    hang_up: Notify,
    /// Woken when the node takes a frame.
    room: Notify,
}

/// Queues of chunks; bounded by the session, which stops at its high water mark.
#[derive(Debug)]
pub(super) struct Writers {
    pub(super) control: mpsc::UnboundedSender<Vec<u8>>,
    pub(super) activations: mpsc::UnboundedSender<Vec<u8>>,
}

/// Something that takes time.
#[derive(Debug)]
enum Step {
    Offer,
    Answer { offer: String },
    Accept { answer: String },
    AddCandidate(Candidate),
}

/// Steps that may wait. A peer that signals more than this before they are carried out is not
/// negotiating.
const MAX_STEPS: usize = 256;

impl Peer {
    pub(super) fn open(
        connection: u64,
        id: NodeId,
        role: Role,
        ice_servers: Vec<IceServer>,
        config: &Arc<NetConfig>,
        outbound: mpsc::UnboundedSender<Happened>,
    ) -> Arc<Self> {
        let (steps, receiver) = mpsc::channel(MAX_STEPS);
        let peer = Arc::new(Self {
            connection,
            id,
            ice_servers,
            started: Instant::now(),
            session: Mutex::new(PeerSession::new(id, role, config.limits)),
            outbound,
            steps,
            writers: Mutex::new(None),
            generation: AtomicU64::new(0),
            hang_up: Notify::new(),
            room: Notify::new(),
        });
        peer.handle(Input::Start);
        tokio::spawn(work(Arc::clone(&peer), Arc::clone(config), receiver));
        peer
    }

    /// Tells the session and does what it wants.
    pub(super) fn handle(&self, input: Input<'_>) {
        let reading = matches!(input, Input::Read(_));
        // A panic elsewhere does not make the session's state less whole: every `handle` runs to
        // its end.
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        for action in session.handle(input, self.started.elapsed()) {
            self.perform(action);
        }
        drop(session);
        if reading {
            self.room.notify_waiters();
        }
    }

    /// The same for what a WebRTC connection has to say, which is nothing once another took its
    /// place.
    pub(super) fn handle_from(&self, generation: u64, input: Input<'_>) {
        if self.generation.load(Ordering::Acquire) == generation {
            self.handle(input);
        }
    }

    pub(super) fn tell(&self, event: Event) {
        // The transport may be gone, and then nobody wants to know.
        let _ = self.outbound.send(Happened { event, connection: self.connection, _room: None });
    }

    pub(super) fn is_closed(&self) -> bool {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).is_closed()
    }

    /// Ends the connection and the peer's task.
    pub(super) fn hang_up(&self) {
        self.hang_up.notify_one();
    }

    /// Waits while the node has too much to read; the peer's own stack then slows down.
    pub(super) async fn room_to_read(&self) {
        loop {
            let notified = self.room.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let unread = self.session.lock().unwrap_or_else(PoisonError::into_inner).unread_bytes();
            // The next chunk of either channel may complete a frame of the largest size.
            if unread <= MAX_UNREAD_BYTES - 2 * MAX_PEER_FRAME_BYTES {
                return;
            }
            notified.await;
        }
    }

    fn perform(&self, action: Action) {
        let step = match action {
            Action::Offer => Step::Offer,
            Action::Answer { offer, fresh } => {
                if fresh {
                    self.generation.fetch_add(1, Ordering::AcqRel);
                }
                Step::Answer { offer }
            }
            Action::Accept { answer } => Step::Accept { answer },
            Action::AddCandidate(candidate) => Step::AddCandidate(candidate),
            Action::Transmit(channel, chunk) => return self.transmit(channel, chunk),
            Action::Tell(event) => return self.tell(event),
            Action::Close => return self.hang_up(),
        };
        if self.steps.try_send(step).is_err() {
            let reason = "it signals faster than it can be answered".to_owned();
            self.tell(Event::PeerClosed { peer: self.id, reason });
            self.hang_up();
        }
    }

    fn transmit(&self, channel: Channel, chunk: Vec<u8>) {
        let writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writers) = &*writers {
            let writer = match channel {
                Channel::Control => &writers.control,
                Channel::Activations => &writers.activations,
            };
            // The writer ends only with its channel, whose close is reported on its own.
            let _ = writer.send(chunk);
        }
    }
}

/// Carries out a peer's steps and watches its clock until it is closed.
async fn work(peer: Arc<Peer>, config: Arc<NetConfig>, mut steps: mpsc::Receiver<Step>) {
    let mut current: Option<Connection> = None;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = peer.hang_up.notified() => break,
            _ = ticks.tick() => peer.handle(Input::Tick),
            Some(step) = steps.recv() => {
                let done = tokio::select! {
                    biased;
                    () = peer.hang_up.notified() => break,
                    done = tokio::time::timeout(config.limits.open, carry_out(&peer, &config, &mut current, step)) => done,
                };
                match done {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => peer.handle(Input::Failed(error.to_string())),
                    Err(_) => peer.handle(Input::Failed("negotiation took too long".to_owned())),
                }
            }
        }
    }
    if let Some(current) = current {
        current.close().await;
    }
}

async fn carry_out(
    peer: &Arc<Peer>,
    config: &NetConfig,
    current: &mut Option<Connection>,
    step: Step,
) -> Result<(), connection::Error> {
    let generation = peer.generation.load(Ordering::Acquire);
    if current.as_ref().is_none_or(|connection| connection.generation != generation) {
        if let Some(old) = current.take() {
            old.close().await;
        }
        let (connection, writers) =
            Connection::new(peer, generation, config, &peer.ice_servers).await?;
        *peer.writers.lock().unwrap_or_else(PoisonError::into_inner) = Some(writers);
        *current = Some(connection);
    }
    let Some(connection) = current else { return Ok(()) };
    match step {
        Step::Offer => {
            let sdp = connection.offer().await?;
            peer.tell(Event::Signal { peer: peer.id, signal: Signal::Offer { sdp } });
            connection.gather().await
        }
        Step::Answer { offer } => {
            let sdp = connection.answer(offer).await?;
            peer.tell(Event::Signal { peer: peer.id, signal: Signal::Answer { sdp } });
            connection.gather().await
        }
        Step::Accept { answer } => connection.accept(answer).await,
        Step::AddCandidate(candidate) => {
            // A candidate that is not understood (another address family, a name that does not
            // resolve) is one path less, no more.
            if let Err(error) = connection.add_candidate(candidate).await {
                tracing::debug!(peer = %peer.id.short(), %error, "candidate not added");
            }
            Ok(())
        }
    }
}
