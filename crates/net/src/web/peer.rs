//! One peer: its session, its connection, and the task that carries out what takes time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::StreamExt as _;
use futures::channel::mpsc;
use potluck_protocol::id::NodeId;
use potluck_protocol::server::{IceServer, Signal};
use wasm_bindgen_futures::spawn_local;
use web_sys::RtcSdpType;
use web_time::Instant;

use super::connection::{Connection, Negotiation};
use super::page::Happened;
use crate::session::{Action, Candidate, Input, Limits, PeerSession};
use crate::{Event, Role};

/// Steps that may wait. A peer that signals more than this before they are carried out is not
/// negotiating.
const MAX_STEPS: usize = 256;

/// One peer, shared by the transport and the browser's callbacks.
pub(super) struct Peer {
    pub(super) connection: u64,
    id: NodeId,
    ice_servers: Vec<IceServer>,
    started: Instant,
    session: RefCell<PeerSession>,
    outbound: mpsc::UnboundedSender<Happened>,
    steps: RefCell<mpsc::Sender<Step>>,
    current: RefCell<Option<Connection>>,
    /// Which of this peer's WebRTC connections counts; rises when the peer begins anew.
    generation: Cell<u64>,
}

/// Something that takes time.
enum Step {
    Offer,
    Answer { offer: String },
    Accept { answer: String },
    AddCandidate(Candidate),
}

impl Peer {
    pub(super) fn open(
        connection: u64,
        id: NodeId,
        role: Role,
        ice_servers: Vec<IceServer>,
        limits: Limits,
        outbound: mpsc::UnboundedSender<Happened>,
    ) -> Rc<Self> {
        let (steps, receiver) = mpsc::channel(MAX_STEPS);
        let peer = Rc::new(Self {
            connection,
            id,
            ice_servers,
            started: Instant::now(),
            session: RefCell::new(PeerSession::new(id, role, limits)),
            outbound,
            steps: RefCell::new(steps),
            current: RefCell::new(None),
            generation: Cell::new(0),
        });
        peer.handle(Input::Start);
        spawn_local(work(Rc::clone(&peer), receiver));
        peer
    }

    /// Tells the session and does what it wants.
    pub(super) fn handle(&self, input: Input<'_>) {
        let actions = self.session.borrow_mut().handle(input, self.started.elapsed());
        let mut failure = None;
        for action in actions {
            if let Err(reason) = self.perform(action) {
                failure.get_or_insert(reason);
            }
        }
        if let Some(reason) = failure {
            self.handle(Input::Failed(reason));
        }
    }

    /// The same for what a connection has to say, which is nothing once another took its place.
    pub(super) fn handle_from(&self, generation: u64, input: Input<'_>) {
        if self.generation.get() == generation {
            self.handle(input);
        }
    }

    /// Sends a frame. The browser knows best how much its channel holds.
    pub(super) fn send(&self, channel: potluck_protocol::peer::Channel, frame: Vec<u8>) {
        let buffered =
            self.current.borrow().as_ref().map(|connection| connection.buffered_bytes(channel));
        if let Some(bytes) = buffered {
            self.handle(Input::Buffered(channel, bytes));
        }
        self.handle(Input::Send(channel, frame));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.session.borrow().is_closed()
    }

    pub(super) fn tell_signal(&self, signal: Signal) {
        self.tell(Event::Signal { peer: self.id, signal });
    }

    /// Ends the connection and the peer's task.
    pub(super) fn hang_up(&self) {
        self.steps.borrow_mut().close_channel();
        drop(self.current.take());
    }

    fn tell(&self, event: Event) {
        // The transport may be gone, and then nobody wants to know.
        let _ = self.outbound.unbounded_send(Happened { event, connection: self.connection });
    }

    fn perform(&self, action: Action) -> Result<(), String> {
        let step = match action {
            Action::Offer => Step::Offer,
            Action::Answer { offer, fresh } => {
                if fresh {
                    self.generation.set(self.generation.get() + 1);
                    drop(self.current.take());
                }
                Step::Answer { offer }
            }
            Action::Accept { answer } => Step::Accept { answer },
            Action::AddCandidate(candidate) => Step::AddCandidate(candidate),
            Action::Transmit(channel, chunk) => {
                let current = self.current.borrow();
                return current
                    .as_ref()
                    .map_or(Ok(()), |connection| connection.transmit(channel, &chunk));
            }
            Action::Tell(event) => {
                self.tell(event);
                return Ok(());
            }
            Action::Close => {
                self.hang_up();
                return Ok(());
            }
        };
        let sent = self.steps.borrow_mut().try_send(step);
        sent.map_err(|_| "it signals faster than it can be answered".to_owned())
    }
}

/// Carries out a peer's steps until it is closed.
async fn work(peer: Rc<Peer>, mut steps: mpsc::Receiver<Step>) {
    while let Some(step) = steps.next().await {
        let generation = peer.generation.get();
        let result = match negotiation(&peer, generation) {
            Ok(Some(negotiation)) => carry_out(&peer, &negotiation, step).await,
            Ok(None) => return,
            Err(reason) => Err(reason),
        };
        if let Err(reason) = result {
            // Of the connection that another one replaced meanwhile, no failure counts.
            peer.handle_from(generation, Input::Failed(reason));
        }
    }
}

/// The connection, made if need be; `None` if the peer is closed.
fn negotiation(peer: &Rc<Peer>, generation: u64) -> Result<Option<Negotiation>, String> {
    if peer.steps.borrow().is_closed() {
        return Ok(None);
    }
    let mut current = peer.current.borrow_mut();
    if current.as_ref().is_none_or(|connection| connection.generation != generation) {
        *current = Some(Connection::new(peer, generation, &peer.ice_servers)?);
    }
    Ok(current.as_ref().map(Connection::negotiation))
}

async fn carry_out(peer: &Peer, negotiation: &Negotiation, step: Step) -> Result<(), String> {
    match step {
        Step::Offer => {
            let sdp = negotiation.offer().await?;
            peer.tell_signal(Signal::Offer { sdp: sdp.clone() });
            negotiation.gather(RtcSdpType::Offer, &sdp).await
        }
        Step::Answer { offer } => {
            let sdp = negotiation.answer(&offer).await?;
            peer.tell_signal(Signal::Answer { sdp: sdp.clone() });
            negotiation.gather(RtcSdpType::Answer, &sdp).await
        }
        Step::Accept { answer } => negotiation.set_remote(RtcSdpType::Answer, &answer).await,
        Step::AddCandidate(candidate) => {
            // A candidate that the browser cannot use is one path less, no more.
            if let Err(error) = negotiation.add_candidate(&candidate).await {
                tracing::debug!(peer = %peer.id.short(), error, "candidate not added");
            }
            Ok(())
        }
    }
}
