//! The node as a state machine: what happens, and when.
//!
//! `handle(input, now)` takes one thing that happened and returns what to do about it. There is no
//! I/O here, no clock and no randomness; [`crate::run`] drives it. A node is up to three things at
//! once, each with a file:
//!
//! | file | the node as | speaks with |
//! |---|---|---|
//! | `link` | a client of the server: handshake, back-off | server |
//! | `lending` | a volunteer: backend, assignment, weights | server, engine |
//! | `serving` | a stage: steps in, hidden rows or tokens out | peers, engine |
//! | `asking` | a requester: prompt in, text out | server, peers |
//! | `receipts` | both sides of a receipt | peers, server |
//! | `peers` | the keeper of its connections | peers |
//!
//! A frame for this very node (a page that both asks and serves) does not leave it: it goes round
//! through `loopback`.

mod asking;
mod lending;
mod link;
mod messages;
mod peers;
mod receipts;
mod serving;
mod statistics;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use potluck_engine::package::Manifest;
use potluck_engine::tokenizer::Tokenizer;
use potluck_net as net;
use potluck_protocol::codec;
use potluck_protocol::id::{ModelId, NodeId, SessionId};
use potluck_protocol::identity::Identity;
use potluck_protocol::page::{Command, Notice};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::server::{IceServer, ModelSummary, NodeKind, ToServer};

pub use messages::{
    Action, EngineDescription, Input, MachineEvent, StepInput, StepRequest, StepResult, TICK,
};

/// The node.
#[derive(Debug)]
pub struct Node {
    identity: Identity,
    me: NodeId,
    kind: NodeKind,
    link: link::Link,
    ice_servers: Vec<IceServer>,
    models: Vec<ModelSummary>,
    manifests: HashMap<ModelId, Arc<Manifest>>,
    tokenizers: HashMap<ModelId, Arc<Tokenizer>>,
    peers: peers::Peers,
    lending: lending::State,
    serving: serving::State,
    asking: asking::State,
    receipts: receipts::State,
    loopback: VecDeque<PeerFrame>,
    actions: Vec<Action>,
}

impl Node {
    /// A node that does nothing yet.
    #[must_use]
    pub fn new(identity: Identity, kind: NodeKind) -> Self {
        let me = identity.node();
        Self {
            identity,
            me,
            kind,
            link: link::Link::default(),
            ice_servers: Vec::new(),
            models: Vec::new(),
            manifests: HashMap::new(),
            tokenizers: HashMap::new(),
            peers: peers::Peers::default(),
            lending: lending::State::default(),
            serving: serving::State::default(),
            asking: asking::State::default(),
            receipts: receipts::State::default(),
            loopback: VecDeque::new(),
            actions: Vec::new(),
        }
    }

    /// The node's key.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.me
    }

    /// Takes one thing that happened at `now` (since the node started) and says what to do, in
    /// order.
    pub fn handle(&mut self, input: Input, now: Duration) -> Vec<Action> {
        match input {
            Input::Command(command) => self.command(command, now),
            Input::Transport(event) => self.transport(event, now),
            Input::Machine(event) => self.machine(event, now),
            Input::Tick => {
                self.link_tick(now);
                self.serving_tick(now);
                self.asking_tick(now);
                self.receipts_tick(now);
                self.peers_tick(now);
                self.lending_tick(now);
            }
        }
        while let Some(frame) = self.loopback.pop_front() {
            self.peer_frame(self.me, frame, now);
        }
        std::mem::take(&mut self.actions)
    }

    fn command(&mut self, command: Command, now: Duration) {
        match command {
            Command::Connect { server } => self.connect(server, now),
            Command::Lend { backend, memory_bytes } => self.lend(backend, memory_bytes),
            Command::StopLending => self.stop_lending(now),
            Command::Ask(ask) => self.ask(ask, now),
            Command::Cancel { request } => self.cancel(request, now),
        }
    }

    fn transport(&mut self, event: net::Event, now: Duration) {
        match event {
            net::Event::ServerOpen => self.server_open(),
            net::Event::ServerMessage { message } => match codec::decode_from_server(&message) {
                Ok(message) => self.server_message(message, now),
                Err(error) => {
                    self.server_lost(format!("the server sent something unreadable: {error}"), now)
                }
            },
            net::Event::ServerClosed { reason } => self.server_lost(reason, now),
            net::Event::Signal { peer, signal } => self.signal_out(peer, signal),
            net::Event::PeerOpen { peer } => self.peer_open(peer, now),
            net::Event::PeerFrame { peer, channel, frame } => {
                match codec::decode_peer_frame(&frame) {
                    Ok(frame) if frame.channel() == channel => self.peer_frame(peer, frame, now),
                    Ok(_) => self.drop_peer(peer, "it used the wrong channel", now),
                    Err(error) => {
                        self.drop_peer(peer, &format!("it sent something unreadable: {error}"), now)
                    }
                }
            }
            net::Event::PeerClosed { peer, reason } => self.peer_closed(peer, &reason, now),
        }
    }

    fn machine(&mut self, event: MachineEvent, now: Duration) {
        match event {
            MachineEvent::EngineReady(engine) => self.engine_ready(engine),
            MachineEvent::EngineReplaced(engine) => self.engine_replaced(engine),
            MachineEvent::EngineFailed { reason } => self.engine_failed(reason),
            MachineEvent::Manifest { model, result } => {
                if let Ok(manifest) = &result {
                    self.manifests.insert(model, Arc::clone(manifest));
                }
                let failure = result.err().map(|error| error.to_string());
                self.lending_manifest(model, failure.as_deref(), now);
                self.asking_manifest(model, failure.as_deref(), now);
            }
            MachineEvent::Tokenizer { model, result } => {
                if let Ok(tokenizer) = &result {
                    self.tokenizers.insert(model, Arc::clone(tokenizer));
                }
                let failure = result.err().map(|error| error.to_string());
                self.asking_tokenizer(model, failure.as_deref(), now);
            }
            MachineEvent::Progress { role, bytes } => self.blob_progress(role, bytes, now),
            MachineEvent::Loaded { model, role, result } => {
                self.blob_loaded(model, role, result.map_err(|error| error.to_string()), now)
            }
            MachineEvent::Computed(step) => self.computed(step, now),
        }
    }

    fn peer_frame(&mut self, from: NodeId, frame: PeerFrame, now: Duration) {
        match frame {
            PeerFrame::Step { session, position, tokens, sampling } => {
                self.work(from, session, position, StepInput::Tokens(tokens), sampling, now);
            }
            PeerFrame::Hidden { session, position, rows: _, values, sampling } => {
                self.work(from, session, position, StepInput::Hidden(values), sampling, now);
            }
            PeerFrame::Token { session, position, token } => {
                self.token(from, session, position, token, now)
            }
            PeerFrame::ReceiptProposal { receipt, signature } => {
                self.receipt_proposed(from, &receipt, &signature)
            }
            PeerFrame::ReceiptSigned { receipt, signature } => {
                self.receipt_signed(from, receipt, signature)
            }
            PeerFrame::End { session } => self.serving_end(from, session, now),
            PeerFrame::Ping { session } => self.pinged(from, session),
            PeerFrame::Pong { session } => self.asking.heard_from(session, from),
            PeerFrame::Failed { session, reason, failed_node } => {
                self.session_failed(from, session, &reason, failed_node, now)
            }
        }
    }

    fn session_failed(
        &mut self,
        from: NodeId,
        session: SessionId,
        reason: &str,
        failed_node: Option<NodeId>,
        now: Duration,
    ) {
        if self.serving.is_in(session, from) {
            self.end_serving(session, Some(reason), now);
        }
        if self.asking.is_in(session, from) {
            self.resume_ask_of(session, reason, failed_node, now);
        }
    }

    fn notice(&mut self, notice: Notice) {
        self.actions.push(Action::Notice(notice));
    }

    fn say_to_server(&mut self, message: &ToServer) {
        if self.link.is_open() {
            self.say_in_handshake(message);
        }
    }

    /// Also before the server has welcomed us: for the handshake itself.
    fn say_in_handshake(&mut self, message: &ToServer) {
        self.actions
            .push(Action::Transport(net::Command::SendServer { message: codec::encode(message) }));
    }
}
