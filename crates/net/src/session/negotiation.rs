//! One peer: its session, and the task that carries out what takes time, over any WebRTC stack.
//!
//! Whoever has something to report (the transport, a channel, the stack) calls [`Peer::handle`] or
//! [`Reporter::handle`]. What the session wants done at once is done under the same lock, so it
//! keeps its order; what takes time is queued for [`negotiate`], which the platform runs as a task.
//!
//! A peer has one connection at a time. When it begins anew its next connection is another
//! *attempt*, and nothing that the earlier one still reports counts any more.
//!
//! How a platform makes connections is its own: it implements [`PeerConnection`], [`Channels`] and
//! [`Platform`], and decides nothing.

use core::fmt::Display;
use core::pin::pin;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::StreamExt as _;
use futures::channel::{mpsc, oneshot};
use futures::future::select;
use potluck_protocol::codec::MAX_SDP_BYTES;
use potluck_protocol::id::NodeId;
use potluck_protocol::peer::Channel;
use potluck_protocol::server::Signal;

use super::peer::{Action, Input, PeerSession};
use super::{Limits, Surroundings};
use crate::events::{ConnectionId, EventSender};
use crate::{Event, Role};

/// One WebRTC connection, driven by [`negotiate`].
pub(crate) trait PeerConnection {
    /// Why the stack refused. The peer's description may be at fault.
    type Error: Display;

    /// Makes an offer; its SDP text.
    async fn offer(&mut self) -> Result<String, Self::Error>;
    /// Sets the peer's offer and makes an answer; the answer's SDP text.
    async fn answer(&mut self, offer: String) -> Result<String, Self::Error>;
    /// Sets the offer or answer made last as the local description, which starts the search for
    /// candidates. A separate step, so that the peer gets the description before any candidate.
    async fn gather(&mut self) -> Result<(), Self::Error>;
    /// Sets the peer's answer.
    async fn accept(&mut self, answer: String) -> Result<(), Self::Error>;
    /// Adds a candidate of the peer's, a `candidate:` line for the one section that there is.
    async fn add_candidate(&mut self, candidate: String) -> Result<(), Self::Error>;
    /// Lets chunks that are under way out, where the platform can tell, and ends the connection.
    async fn close(self);
}

/// The two data channels of a connection, to send on.
pub(crate) trait Channels {
    /// Hands a chunk to a channel, without waiting. An error closes the peer.
    fn transmit(&self, channel: Channel, chunk: Vec<u8>) -> Result<(), String>;
    /// Bytes that a channel holds back at this moment, where the platform can be asked. Elsewhere
    /// it reports [`Input::Buffered`] on its own.
    fn buffered_bytes(&self, channel: Channel) -> Option<usize>;
}

/// Makes connections to one peer, and keeps its time.
pub(crate) trait Platform: Sized + 'static {
    /// Its connections.
    type Connection: PeerConnection;
    /// Their channels.
    type Channels: Channels;

    /// Time since any fixed moment.
    fn now(&self) -> Duration;
    /// Makes a connection and its channels. Nothing is sent yet; what happens to them is told to
    /// `reporter`.
    async fn connect(
        &self,
        reporter: Reporter<Self>,
    ) -> Result<(Self::Connection, Self::Channels), <Self::Connection as PeerConnection>::Error>;
}

/// One peer, shared by the transport and by all that works for it.
#[derive(Debug)]
pub(crate) struct Peer<P: Platform> {
    id: NodeId,
    events: EventSender,
    platform: P,
    state: Mutex<State<P::Channels>>,
}

#[derive(Debug)]
struct State<C> {
    session: PeerSession,
    /// Which of this peer's connections counts; rises when the peer begins anew.
    attempt: u64,
    channels: Option<C>,
    /// `None` once the peer was hung up.
    task: Option<TaskHandle>,
}

/// What [`negotiate`] listens to.
#[derive(Debug)]
struct TaskHandle {
    steps: mpsc::Sender<(u64, Step)>,
    /// Dropped with this, which ends the task whatever it is waiting for.
    _running: oneshot::Sender<()>,
}

/// The other end of a [`TaskHandle`].
pub(crate) struct Task {
    steps: mpsc::Receiver<(u64, Step)>,
    hung_up: oneshot::Receiver<()>,
}

/// Something that takes time.
#[derive(Debug)]
enum Step {
    Offer,
    Answer { offer: String },
    Accept { answer: String },
    AddCandidate(String),
}

/// Steps that may wait. A peer that signals more than this before they are carried out is not
/// negotiating.
const MAX_STEPS: usize = 256;

impl<P: Platform> Peer<P> {
    /// Begins a connection to `id`. The platform has to run [`negotiate`] with the task, and to
    /// report [`Input::Tick`].
    pub(crate) fn open(
        id: NodeId,
        role: Role,
        limits: Limits,
        surroundings: Surroundings,
        platform: P,
        events: EventSender,
    ) -> (Arc<Self>, Task) {
        let (steps, receiver) = mpsc::channel(MAX_STEPS);
        let (running, hung_up) = oneshot::channel();
        let state = State {
            session: PeerSession::new(id, role, limits, surroundings),
            attempt: 0,
            channels: None,
            task: Some(TaskHandle { steps, _running: running }),
        };
        let peer = Arc::new(Self { id, events, platform, state: Mutex::new(state) });
        peer.handle(Input::Start);
        (peer, Task { steps: receiver, hung_up })
    }

    /// Which of the transport's connections this is.
    pub(crate) fn connection(&self) -> ConnectionId {
        self.events.connection()
    }

    /// What makes its connections.
    pub(crate) fn platform(&self) -> &P {
        &self.platform
    }

    /// True once the session has ended by itself.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().session.is_closed()
    }

    /// True while the node has too much to read for another chunk.
    #[allow(dead_code, reason = "a browser's channels cannot be held up, so only tokio asks")]
    pub(crate) fn is_unread_full(&self) -> bool {
        self.lock().session.is_unread_full()
    }

    /// Tells the session what happened and does what it wants.
    pub(crate) fn handle(&self, input: Input<'_>) {
        self.handle_locked(&mut self.lock(), input);
    }

    /// Ends the connection and the peer's task, without an event.
    pub(crate) fn hang_up(&self) {
        self.lock().hang_up();
    }

    fn lock(&self) -> MutexGuard<'_, State<P::Channels>> {
        // A panic elsewhere does not make the state less whole: every change runs to its end.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle_locked(&self, state: &mut State<P::Channels>, input: Input<'_>) {
        let now = self.platform.now();
        if let Input::Send(channel, _) = input
            && let Some(channels) = &state.channels
            && let Some(bytes) = channels.buffered_bytes(channel)
        {
            self.perform_all(state, Input::Buffered(channel, bytes), now);
        }
        self.perform_all(state, input, now);
    }

    fn perform_all(&self, state: &mut State<P::Channels>, input: Input<'_>, now: Duration) {
        let mut failure = None;
        for action in state.session.handle(input, now) {
            if let Err(reason) = self.perform(state, action) {
                failure.get_or_insert(reason);
            }
        }
        if let Some(reason) = failure {
            for action in state.session.handle(Input::Failed(reason), now) {
                // Nothing but the end follows a failure, and ending cannot fail.
                let _ended = self.perform(state, action);
            }
        }
    }

    fn perform(&self, state: &mut State<P::Channels>, action: Action) -> Result<(), String> {
        let step = match action {
            Action::Offer => Step::Offer,
            Action::Answer { offer, fresh } => {
                if fresh {
                    state.attempt += 1;
                    state.channels = None;
                }
                Step::Answer { offer }
            }
            Action::Accept { answer } => Step::Accept { answer },
            Action::AddCandidate(candidate) => Step::AddCandidate(candidate),
            Action::Transmit(channel, chunk) => {
                let Some(channels) = &state.channels else { return Ok(()) };
                return channels.transmit(channel, chunk);
            }
            Action::Report(event) => {
                self.events.send(event);
                return Ok(());
            }
            Action::Close => {
                state.hang_up();
                return Ok(());
            }
        };
        let Some(task) = &mut state.task else { return Ok(()) };
        let queued = task.steps.try_send((state.attempt, step));
        queued.map_err(|_| "it signals faster than it can be answered".to_owned())
    }

    /// Sends the peer a description of the connection of this attempt, if it still counts: the
    /// answer to an earlier offer would only confuse.
    fn send_signal(&self, attempt: u64, signal: Signal) {
        let state = self.lock();
        if state.attempt == attempt && state.task.is_some() {
            self.events.send(Event::Signal { peer: self.id, signal });
        }
    }
}

impl<C> State<C> {
    fn hang_up(&mut self) {
        self.task = None;
        self.channels = None;
    }
}

/// How one connection reports to its peer. Nothing, once another connection took its place or the
/// peer is gone.
#[derive(Debug)]
pub(crate) struct Reporter<P: Platform> {
    peer: Weak<Peer<P>>,
    attempt: u64,
}

impl<P: Platform> Clone for Reporter<P> {
    fn clone(&self) -> Self {
        Self { peer: Weak::clone(&self.peer), attempt: self.attempt }
    }
}

impl<P: Platform> Reporter<P> {
    /// The peer, if it is still there.
    pub(crate) fn peer(&self) -> Option<Arc<Peer<P>>> {
        self.peer.upgrade()
    }

    /// Tells the session what happened to the connection.
    pub(crate) fn handle(&self, input: Input<'_>) {
        let Some(peer) = self.peer() else { return };
        let mut state = peer.lock();
        if state.attempt == self.attempt {
            peer.handle_locked(&mut state, input);
        }
    }
}

/// Carries out a peer's steps until it is hung up, then ends its connection.
pub(crate) async fn negotiate<P: Platform>(peer: Arc<Peer<P>>, task: Task) {
    let Task { mut steps, hung_up } = task;
    let mut current = None;
    {
        let carry_out_all = async {
            while let Some((attempt, step)) = steps.next().await {
                if let Err(reason) = carry_out(&peer, &mut current, attempt, step).await {
                    reporter(&peer, attempt).handle(Input::Failed(reason));
                }
            }
        };
        select(hung_up, pin!(carry_out_all)).await;
    }
    if let Some((_, connection)) = current {
        connection.close().await;
    }
}

fn reporter<P: Platform>(peer: &Arc<Peer<P>>, attempt: u64) -> Reporter<P> {
    Reporter { peer: Arc::downgrade(peer), attempt }
}

async fn carry_out<P: Platform>(
    peer: &Arc<Peer<P>>,
    current: &mut Option<(u64, P::Connection)>,
    attempt: u64,
    step: Step,
) -> Result<(), String> {
    if peer.lock().attempt != attempt {
        return Ok(()); // the peer began anew while this step waited
    }
    if current.as_ref().is_none_or(|(of, _)| *of != attempt) {
        if let Some((_, old)) = current.take() {
            old.close().await;
        }
        let connected = peer.platform.connect(reporter(peer, attempt)).await;
        let (connection, channels) = connected.map_err(|error| error.to_string())?;
        *current = Some((attempt, connection));
        peer.set_channels(attempt, channels);
    }
    let Some((_, connection)) = current else { return Ok(()) };
    match step {
        Step::Offer => {
            let sdp = checked(connection.offer().await)?;
            peer.send_signal(attempt, Signal::Offer { sdp });
            stated(connection.gather().await)
        }
        Step::Answer { offer } => {
            let sdp = checked(connection.answer(offer).await)?;
            peer.send_signal(attempt, Signal::Answer { sdp });
            stated(connection.gather().await)
        }
        Step::Accept { answer } => stated(connection.accept(answer).await),
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

impl<P: Platform> Peer<P> {
    fn set_channels(&self, attempt: u64, channels: P::Channels) {
        let mut state = self.lock();
        if state.attempt == attempt && state.task.is_some() {
            state.channels = Some(channels);
        }
    }
}

fn stated<T>(result: Result<T, impl Display>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// Our own description, if it is no longer than the protocol takes.
fn checked(made: Result<String, impl Display>) -> Result<String, String> {
    let sdp = stated(made)?;
    if sdp.len() > MAX_SDP_BYTES {
        let got = sdp.len();
        return Err(format!("session description of {got} bytes, at most {MAX_SDP_BYTES} allowed"));
    }
    Ok(sdp)
}

#[cfg(test)]
#[path = "negotiation_tests.rs"]
mod tests;
