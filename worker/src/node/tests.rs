//! A single node against a scripted server: what it sends, and what it does not.

mod coming_back;
mod consent;
mod granted;
mod pauses;
mod running;

use std::sync::Arc;
use std::time::Duration;

use potluck_engine::engine::Output;
use potluck_model::package::{BlobRole, Manifest};
use potluck_model::synthetic::{Synthetic, config};
use potluck_net as net;
use potluck_net::weights::FetchError;
use potluck_protocol::chat::Conversation;
use potluck_protocol::codec;
use potluck_protocol::grant::{Limits, Terms};
use potluck_protocol::id::{Epoch, LayerRange, ModelId, NodeId, RequestId, SessionId};
use potluck_protocol::identity::Identity;
use potluck_protocol::lease::{Lease, SignedLease};
use potluck_protocol::page::{
    AnswerEvent, Ask, BackendPreference, Command, LendingPhase, Link, Notice, SamplingChoice,
};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::server::{
    FromServer, IceServer, ModelSummary, NodeKind, Session, Stage, ToServer,
};
use potluck_protocol::ticket::{SignedTicket, Ticket};

use self::running::{Running, is_shown_as_lent, shown};
use super::*;
use crate::failure::{FetchFailure, LoadFailure};

const FIRST: ModelId = ModelId([1; 32]);
const SECOND: ModelId = ModelId([2; 32]);
const ENGINE_MACS_PER_MS: u64 = 1_000_000;
const HEARTBEAT_MS: u32 = 5_000;
/// When the tests begin, since 1970.
const TODAY: Duration = Duration::from_secs(1_790_000_000);

fn server() -> Identity {
    Identity::from_seed(&[0xa0; 32])
}

/// A node with a clock, and what it did since it was last looked at.
struct Driven {
    node: Node,
    now: Duration,
    /// Since 1970.
    calendar: Duration,
    actions: Vec<Action>,
    /// What goes on for others, and what the person was shown of it last.
    running: Running,
    shown: LendingPhase,
}

impl Driven {
    /// Connected to a server with two models.
    fn connected() -> Self {
        let node = Node::new(Identity::from_seed(&[9; 32]), NodeKind::Native);
        let mut driven = Self {
            node,
            now: Duration::ZERO,
            calendar: TODAY,
            actions: Vec::new(),
            running: Running::default(),
            shown: LendingPhase::Idle,
        };
        driven.handle(Input::Command(Command::Connect {
            server: "http://test".to_owned(),
            room: None,
        }));
        driven.welcome();
        driven
    }

    /// The server that was dialled welcomes it.
    fn welcome(&mut self) {
        self.handle(Input::Transport(net::Event::ServerOpen));
        let summary = |id, name: &str| ModelSummary { id, name: name.to_owned(), layers: 3 };
        let models = vec![summary(FIRST, "first"), summary(SECOND, "second")];
        let heartbeat_ms = HEARTBEAT_MS;
        self.receive(&FromServer::Welcome { ice_servers: Vec::new(), models, heartbeat_ms });
    }

    /// The link is lost, and there again.
    fn reconnect(&mut self) {
        let reason = "the server restarts".to_owned();
        self.handle(Input::Transport(net::Event::ServerClosed { reason }));
        self.pass(Duration::from_secs(2));
        self.actions.clear();
        self.welcome();
    }

    /// Whatever goes on for others, the person is shown.
    fn handle(&mut self, input: Input) {
        self.running.finish(&input);
        let now = Now { since_start: self.now, calendar: self.calendar };
        for action in self.node.handle(input, now) {
            self.running.act(&action);
            self.shown = shown(&action).unwrap_or_else(|| self.shown.clone());
            self.actions.push(action);
        }
        let (running, shown) = (&self.running, &self.shown);
        assert!(!running.is_lending() || is_shown_as_lent(shown), "{running:?}, but {shown:?}");
    }

    fn receive(&mut self, message: &FromServer) {
        let message = codec::encode(message);
        self.handle(Input::Transport(net::Event::ServerMessage { message }));
    }

    /// Leases it layers of the first model.
    fn assign(&mut self, layers: LayerRange) {
        let lease = Some(self.lease(FIRST, layers, u64::MAX));
        self.receive(&FromServer::Assign { model: FIRST, lease });
    }

    fn lease(&self, model: ModelId, layers: LayerRange, until_s: u64) -> SignedLease {
        let lease = Lease { node: self.node.id(), model, layers, until_s };
        SignedLease::new(&server(), lease)
    }

    /// The lease that it would show a server which has forgotten it.
    fn assignment_shown(&mut self) -> Option<SignedLease> {
        self.reconnect();
        self.sent().into_iter().find_map(|message| match message {
            ToServer::Register { lease, .. } => Some(lease),
            _ => None,
        })?
    }

    fn lend(&mut self) {
        self.lend_within(Limits::default());
    }

    fn lend_within(&mut self, limits: Limits) {
        let terms = Terms { limits, ..Terms::default() };
        self.handle(Input::Command(Command::Lend { backend: BackendPreference::Auto, terms }));
    }

    fn loaded(&mut self, role: BlobRole, result: Result<(), LoadFailure>) {
        self.machine(MachineEvent::Loaded { model: FIRST, role, result });
    }

    /// Makes it the one stage of a session.
    fn serve(&mut self, session: Session) {
        let ticket = Ticket {
            session: session.id,
            model: session.model,
            requester: session.requester,
            stage: self.node.id(),
            layers: session.stages[0].layers,
            opened_ms: 0,
            until_s: u64::MAX,
            earns: true,
            continues: false,
        };
        let ticket = Box::new(SignedTicket::new(&server(), ticket));
        self.receive(&FromServer::Serve { session, ticket });
    }

    /// Lets time pass, with every tick that belongs to it.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += TICK;
            self.calendar += TICK;
            self.handle(Input::Tick);
        }
    }

    fn ask(&mut self, request: u32, model: &str) {
        self.handle(Input::Command(Command::Ask(Ask {
            request: RequestId(request),
            model: Some(model.to_owned()),
            conversation: Conversation::question("a question"),
            asked_at_s: 0,
            sampling: SamplingChoice::default(),
            max_tokens: None,
            sampled: Vec::new(),
            own: None,
            stops: Vec::new(),
            keeps: false,
            counts_only: false,
        })));
    }

    /// Why each question failed that did, since the last look.
    fn failures(&mut self) -> Vec<(u32, String)> {
        let failure = |action| match action {
            Action::Notice(Notice::Answer {
                request,
                event: AnswerEvent::Failed { reason, .. },
            }) => Some((request.0, reason)),
            _ => None,
        };
        std::mem::take(&mut self.actions).into_iter().filter_map(failure).collect()
    }

    /// Messages to the server since the last look.
    fn sent(&mut self) -> Vec<ToServer> {
        let message = |action| match action {
            Action::Transport(net::Command::SendServer { message }) => {
                Some(codec::decode_to_server(&message).unwrap())
            }
            _ => None,
        };
        std::mem::take(&mut self.actions).into_iter().filter_map(message).collect()
    }

    /// Backend and speed of each registration since the last look.
    fn registrations(&mut self) -> Vec<(String, u64)> {
        let registration = |message| match message {
            ToServer::Register { capabilities: it, .. } => Some((it.backend, it.macs_per_ms)),
            _ => None,
        };
        self.sent().into_iter().filter_map(registration).collect()
    }

    /// A volunteer's, with layers 0 to 2 of a model in the engine.
    fn serving(model: &Synthetic) -> Self {
        let mut driven = Self::connected();
        driven.lend();
        driven.machine(MachineEvent::EngineReady(engine("webgpu", ENGINE_MACS_PER_MS)));
        driven.assign(ALL);
        let manifest: Arc<Manifest> = Arc::new(model.manifest.clone());
        driven.machine(MachineEvent::Manifest { model: FIRST, result: Ok(Arc::clone(&manifest)) });
        for (role, _) in manifest.blobs_for(ALL.indices()) {
            driven.loaded(role, Ok(()));
        }
        driven
    }

    fn machine(&mut self, event: MachineEvent) {
        self.handle(Input::Machine(event));
    }
}

const ALL: LayerRange = LayerRange { first: 0, end: 3 };

fn engine(backend: &str, macs_per_ms: u64) -> EngineDescription {
    let adapter = "a test".to_owned();
    let device = Device::Graphics;
    EngineDescription { backend: backend.to_owned(), adapter, note: None, macs_per_ms, device }
}

fn synthetic() -> Synthetic {
    Synthetic::new(config(3, 64, 96, (4, 2, 16), 99, 64), 3)
}

fn not_found() -> FetchFailure {
    FetchFailure::Download(FetchError::Status { url: "http://test".to_owned(), status: 404 })
}

/// A session of this node's, asked for by `requester`.
fn session(me: NodeId, requester: NodeId) -> Session {
    Session {
        id: SessionId([5; 16]),
        model: FIRST,
        requester,
        stages: vec![Stage { node: me, layers: ALL }],
        epochs: vec![Epoch(1), Epoch(2)],
        continues: None,
    }
}

#[test]
fn a_failed_download_for_one_model_fails_the_questions_for_it_alone() {
    let mut driven = Driven::connected();
    driven.ask(1, "first");
    driven.ask(2, "second");
    driven.machine(MachineEvent::Manifest { model: SECOND, result: Err(not_found()) });
    let failures = driven.failures();
    assert!(matches!(&failures[..], [(2, reason)] if reason.contains("404")), "{failures:?}");
    driven.machine(MachineEvent::Tokenizer { model: FIRST, result: Err(not_found()) });
    let failures = driven.failures();
    assert!(matches!(&failures[..], [(1, _)]), "{failures:?}");
}

#[test]
fn an_impossible_address_fails_questions_at_once() {
    let mut driven = Driven::connected();
    driven.ask(1, "first");
    driven.handle(Input::Command(Command::Connect { server: "foo".to_owned(), room: None }));
    let refused = driven.actions.iter().any(|action| {
        matches!(action, Action::Notice(Notice::Link(Link::Refused { reason }))
            if reason.contains("foo"))
    });
    assert!(refused, "{:?}", driven.actions);
    let failures = driven.failures();
    assert!(matches!(&failures[..], [(1, reason)] if reason.contains("foo")), "{failures:?}");
    driven.pass(Duration::from_secs(60));
    let dials =
        |action: &Action| matches!(action, Action::Transport(net::Command::OpenServer { .. }));
    assert!(!driven.actions.iter().any(dials), "it is not tried again");
}

#[test]
fn another_engine_is_registered_at_once_with_its_speed() {
    let mut driven = Driven::serving(&synthetic());
    assert_eq!(driven.registrations(), [("webgpu".to_owned(), ENGINE_MACS_PER_MS)]);
    driven.machine(MachineEvent::EngineReplaced(engine("avx2", 7_000)));
    let sent = driven.sent();
    let is_new = |message: &ToServer| {
        matches!(message, ToServer::Register { capabilities: it, .. }
            if it.backend == "avx2" && it.macs_per_ms == 7_000)
    };
    assert!(sent.iter().any(is_new), "{sent:?}");
    let ready = ToServer::LayersReady { model: FIRST, layers: ALL };
    assert!(sent.contains(&ready), "it still holds its layers: {sent:?}");
}

#[test]
fn frames_go_to_the_transport_while_the_connection_is_opening() {
    let model = synthetic();
    let mut driven = Driven::serving(&model);
    let (me, requester) = (driven.node.id(), NodeId([8; 32]));
    driven.serve(session(me, requester));
    driven.actions.clear();
    driven.machine(MachineEvent::Computed(StepResult {
        session: SessionId([5; 16]),
        position: 0,
        rows: 1,
        sampling: None,
        output: Ok(Output::Token(4)),
        elapsed: Duration::from_millis(1),
    }));
    let sent = driven.actions.iter().find_map(|action| match action {
        Action::Transport(net::Command::SendPeer { peer, frame, .. }) => {
            Some((*peer, codec::decode_peer_frame(frame).unwrap()))
        }
        _ => None,
    });
    let token = PeerFrame::Token { session: SessionId([5; 16]), position: 1, token: 4 };
    assert_eq!(sent, Some((requester, token)));
    driven.actions.clear();
    driven.handle(Input::Transport(net::Event::PeerOpen { peer: requester }));
    let sends =
        |action: &Action| matches!(action, Action::Transport(net::Command::SendPeer { .. }));
    assert!(!driven.actions.iter().any(sends), "and not a second time: {:?}", driven.actions);
}

#[test]
fn connections_are_opened_with_the_credentials_that_were_told_last() {
    let mut driven = Driven::serving(&synthetic());
    let relay = |user: &str| IceServer {
        urls: vec!["turn:192.0.2.1".to_owned()],
        username: Some(user.to_owned()),
        credential: Some("secret".to_owned()),
    };
    for user in ["first", "second"] {
        driven.receive(&FromServer::IceServers { ice_servers: vec![relay(user)] });
    }
    driven.serve(session(driven.node.id(), NodeId([8; 32])));
    let opened = driven.actions.iter().find_map(|action| match action {
        Action::Transport(net::Command::OpenPeer { ice_servers, .. }) => Some(ice_servers),
        _ => None,
    });
    assert_eq!(opened, Some(&vec![relay("second")]));
}

#[test]
fn parts_that_nothing_needs_any_more_are_unloaded_but_the_tables() {
    let mut driven = Driven::serving(&synthetic());
    driven.actions.clear();
    driven.assign(LayerRange { first: 0, end: 1 });
    let mut unloaded: Vec<BlobRole> = Vec::new();
    for action in driven.actions {
        if let Action::Unload { role } = action {
            unloaded.push(role);
        }
    }
    assert_eq!(unloaded, [BlobRole::Layer(1), BlobRole::Layer(2), BlobRole::Head]);
}
