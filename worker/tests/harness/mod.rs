//! Several real nodes with real engines in one thread, joined by a perfect network and a scripted
//! server.
//!
//! The server here knows one trick each: it hands out the assignments it is told, routes over them,
//! passes signals on and credits what both parties signed. Deliveries go in order, one at a time,
//! so every run is the same; a test may look at each before it happens and drop, change or add to
//! it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test code shared by several test binaries; each uses its own part of it"
)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::executor::block_on;
use potluck_engine::engine::{BackendChoice, Engine, Input as EngineInput, OutputRequest};
use potluck_engine::sampler;
use potluck_importer::import_folder;
use potluck_model::package::{BlobRole, Manifest};
use potluck_model::tokenizer::Tokenizer;
use potluck_net as net;
use potluck_protocol::codec;
use potluck_protocol::id::{Epoch, LayerRange, ModelId, NodeId, RequestId, SessionId};
use potluck_protocol::identity::{Identity, Purpose, verify};
use potluck_protocol::page::{
    AnswerEvent, Ask, BackendPreference, Command, Notice, SamplingChoice,
};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::receipt::SignedReceipt;
use potluck_protocol::server::{
    FromServer, ModelSummary, NodeKind, Session, Stage, ToServer, Verdict, challenge_bytes,
};
use potluck_worker::node::{
    Action, EngineDescription, Input, MachineEvent, Node, StepInput, StepRequest, StepResult,
};

/// The built-in model, imported once for all tests of a binary.
pub struct Package {
    folder: tempfile::TempDir,
    pub model: ModelId,
    pub manifest: Arc<Manifest>,
}

impl Package {
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn blob(&self, hash: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join("blobs").join(hash)).unwrap()
    }
}

pub fn package() -> &'static Package {
    static PACKAGE: OnceLock<Package> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/potluck-tiny");
        let hash = import_folder(&source, folder.path()).unwrap();
        let bytes = std::fs::read(folder.path().join("models/potluck-tiny.json")).unwrap();
        Package {
            folder,
            model: ModelId(hash.0),
            manifest: Arc::new(Manifest::from_bytes(&bytes).unwrap()),
        }
    })
}

/// One thing under way to a node.
pub enum Delivery {
    Input(Input),
    Server(FromServer),
    Peer { from: NodeId, frame: PeerFrame },
}

struct Member {
    node: Node,
    engine: Option<Engine>,
    online: bool,
}

/// The swarm.
pub struct Swarm {
    members: HashMap<NodeId, Member>,
    pub queue: VecDeque<(NodeId, Delivery)>,
    opening: HashSet<(NodeId, NodeId)>,
    /// Frames for a connection that is still opening, as every transport keeps them.
    queued: Vec<(NodeId, NodeId, PeerFrame)>,
    pub open: HashSet<(NodeId, NodeId)>,
    /// What the server assigns to whoever lends.
    pub assignments: HashMap<NodeId, LayerRange>,
    holding: HashMap<NodeId, LayerRange>,
    asks: Vec<(NodeId, RequestId, Vec<NodeId>)>,
    sessions: HashMap<SessionId, Session>,
    pub receipts: Vec<SignedReceipt>,
    /// While set, receipts are answered with this.
    pub verdict: Option<Verdict>,
    pub notices: Vec<(NodeId, Notice)>,
    /// Peers that a node closed by itself.
    pub closed: Vec<(NodeId, NodeId)>,
    pub now: Duration,
    next_session: u8,
}

impl Swarm {
    /// `count` connected nodes; the first `ranges.len()` of them lend and are assigned these
    /// layers.
    pub fn new(count: u8, ranges: &[(u32, u32)]) -> (Self, Vec<NodeId>) {
        let mut swarm = Self {
            members: HashMap::new(),
            queue: VecDeque::new(),
            opening: HashSet::new(),
            queued: Vec::new(),
            open: HashSet::new(),
            assignments: HashMap::new(),
            holding: HashMap::new(),
            asks: Vec::new(),
            sessions: HashMap::new(),
            receipts: Vec::new(),
            verdict: None,
            notices: Vec::new(),
            closed: Vec::new(),
            now: Duration::ZERO,
            next_session: 1,
        };
        let mut ids = Vec::new();
        for seed in 1..=count {
            let node = Node::new(Identity::from_seed(&[seed; 32]), NodeKind::Native);
            let id = node.id();
            ids.push(id);
            swarm.members.insert(id, Member { node, engine: None, online: true });
            swarm.command(id, Command::Connect { server: "http://test".to_owned() });
        }
        for (id, (first, end)) in ids.iter().zip(ranges) {
            swarm.assignments.insert(*id, LayerRange { first: *first, end: *end });
            swarm.command(
                *id,
                Command::Lend { backend: BackendPreference::Cpu, memory_bytes: 1 << 30 },
            );
        }
        swarm.settle();
        (swarm, ids)
    }

    pub fn command(&mut self, to: NodeId, command: Command) {
        self.queue.push_back((to, Delivery::Input(Input::Command(command))));
    }

    pub fn ask(&mut self, from: NodeId, prompt: &str, seed: u64, max_tokens: u32) {
        self.go_on(from, prompt, seed, max_tokens, Vec::new());
    }

    /// Asks for the rest of an answer.
    pub fn go_on(
        &mut self,
        from: NodeId,
        prompt: &str,
        seed: u64,
        max_tokens: u32,
        drawn: Vec<u32>,
    ) {
        let sampling = SamplingChoice { seed, ..SamplingChoice::default() };
        let ask = Ask {
            request: RequestId(7),
            model: None,
            prompt: prompt.to_owned(),
            sampling,
            max_tokens: Some(max_tokens),
            drawn,
        };
        self.command(from, Command::Ask(ask));
    }

    /// Delivers until nothing is under way.
    pub fn settle(&mut self) {
        self.settle_with(|_, _, _| true);
    }

    /// The same; `look` sees every delivery first and may refuse it.
    pub fn settle_with(&mut self, mut look: impl FnMut(&mut Self, NodeId, &mut Delivery) -> bool) {
        while let Some((to, mut delivery)) = self.queue.pop_front() {
            if look(self, to, &mut delivery) {
                self.deliver(to, delivery);
            }
        }
    }

    /// Lets time pass for everyone.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        let ids: Vec<NodeId> = self.members.keys().copied().collect();
        for id in ids {
            self.queue.push_back((id, Delivery::Input(Input::Tick)));
        }
        self.settle();
    }

    /// A node vanishes: its peers' connections close, its server connection too, and the server
    /// ends its sessions.
    pub fn kill(&mut self, id: NodeId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.online = false;
        }
        self.holding.remove(&id);
        // In the order of their keys: a set has another at every run.
        let mut peers: Vec<NodeId> =
            self.open.iter().filter(|(a, _)| *a == id).map(|(_, b)| *b).collect();
        peers.sort_unstable();
        self.opening.retain(|(a, b)| *a != id && *b != id);
        self.queued.retain(|(a, b, _)| *a != id && *b != id);
        for peer in peers {
            self.open.remove(&(id, peer));
            self.open.remove(&(peer, id));
            let event = net::Event::PeerClosed { peer: id, reason: "it vanished".to_owned() };
            self.queue.push_back((peer, Delivery::Input(Input::Transport(event))));
        }
        let ended = |session: &&Session| session.stages.iter().any(|stage| stage.node == id);
        for session in self.sessions.values().filter(ended).cloned().collect::<Vec<_>>() {
            let others = session.stages.iter().map(|stage| stage.node).chain([session.requester]);
            for other in others.filter(|other| *other != id) {
                let reason = format!("{} left", id.name());
                self.server_says(
                    other,
                    FromServer::SessionEnded { session: session.id, reason, failed_node: Some(id) },
                );
            }
        }
    }

    /// A node hears and says nothing any more, and nobody is told.
    pub fn freeze(&mut self, id: NodeId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.online = false;
        }
    }

    /// A connection between two nodes breaks; both hear of it.
    pub fn cut(&mut self, a: NodeId, b: NodeId) {
        for (one, other) in [(a, b), (b, a)] {
            self.opening.remove(&(one, other));
            self.queued.retain(|(from, to, _)| (*from, *to) != (one, other));
            if self.open.remove(&(one, other)) {
                let event = net::Event::PeerClosed {
                    peer: other,
                    reason: "the connection broke".to_owned(),
                };
                self.queue.push_back((one, Delivery::Input(Input::Transport(event))));
            }
        }
    }

    /// The latest session, if there is one.
    pub fn running_session(&self) -> Option<Session> {
        self.sessions.values().max_by_key(|session| session.id).cloned()
    }

    pub fn server_says(&mut self, to: NodeId, message: FromServer) {
        self.queue.push_back((to, Delivery::Server(message)));
    }

    pub fn peer_says(&mut self, to: NodeId, from: NodeId, frame: PeerFrame) {
        self.queue.push_back((to, Delivery::Peer { from, frame }));
    }

    /// The running or last session.
    pub fn session(&self) -> Session {
        self.sessions.values().max_by_key(|session| session.id).unwrap().clone()
    }

    /// Everything said about the question of `requester`.
    pub fn answer_events(&self, requester: NodeId) -> Vec<AnswerEvent> {
        let of = |(node, notice): &(NodeId, Notice)| match notice {
            Notice::Answer { event, .. } if *node == requester => Some(event.clone()),
            _ => None,
        };
        self.notices.iter().filter_map(of).collect()
    }

    pub fn tokens(&self, requester: NodeId) -> Vec<u32> {
        let token = |event: AnswerEvent| match event {
            AnswerEvent::Token { token, .. } => Some(token),
            _ => None,
        };
        self.answer_events(requester).into_iter().filter_map(token).collect()
    }

    /// Why the answer broke off, each time that it did.
    pub fn breaks(&self, requester: NodeId) -> Vec<String> {
        let broke = |event: AnswerEvent| match event {
            AnswerEvent::Resuming { reason } => Some(reason),
            _ => None,
        };
        self.answer_events(requester).into_iter().filter_map(broke).collect()
    }

    pub fn failure(&self, requester: NodeId) -> Option<String> {
        self.answer_events(requester).into_iter().find_map(|event| match event {
            AnswerEvent::Failed { reason } => Some(reason),
            _ => None,
        })
    }

    fn deliver(&mut self, to: NodeId, delivery: Delivery) {
        let input = match delivery {
            Delivery::Input(input) => input,
            Delivery::Server(message) => {
                Input::Transport(net::Event::ServerMessage { message: codec::encode(&message) })
            }
            Delivery::Peer { from, frame } => Input::Transport(net::Event::PeerFrame {
                peer: from,
                channel: frame.channel(),
                frame: codec::encode(&frame),
            }),
        };
        let now = self.now;
        let Some(member) = self.members.get_mut(&to) else { return };
        if !member.online {
            return;
        }
        for action in member.node.handle(input, now) {
            self.act(to, action);
        }
    }

    fn act(&mut self, id: NodeId, action: Action) {
        match action {
            Action::Transport(command) => self.transport(id, command),
            Action::Notice(notice) => self.notices.push((id, notice)),
            action => {
                if let Some(event) = self.machine(id, action) {
                    self.queue.push_back((id, Delivery::Input(Input::Machine(event))));
                }
            }
        }
    }

    fn transport(&mut self, id: NodeId, command: net::Command) {
        match command {
            net::Command::OpenServer { .. } => {
                self.queue
                    .push_back((id, Delivery::Input(Input::Transport(net::Event::ServerOpen))));
            }
            net::Command::CloseServer | net::Command::Signal { .. } => {}
            net::Command::SendServer { message } => {
                let message = codec::decode_to_server(&message).unwrap();
                self.server(id, message);
            }
            net::Command::OpenPeer { peer, role, .. } => {
                assert_eq!(role, net::Role::of(id, peer));
                self.opening.insert((id, peer));
                if self.opening.contains(&(peer, id)) {
                    self.open.insert((id, peer));
                    self.open.insert((peer, id));
                    for (a, b) in [(id, peer), (peer, id)] {
                        let event = net::Event::PeerOpen { peer: b };
                        self.queue.push_back((a, Delivery::Input(Input::Transport(event))));
                    }
                    for (from, to, frame) in std::mem::take(&mut self.queued) {
                        self.send_peer(from, to, frame);
                    }
                }
            }
            net::Command::SendPeer { peer, channel, frame } => {
                let frame = codec::decode_peer_frame(&frame).unwrap();
                assert_eq!(frame.channel(), channel);
                self.send_peer(id, peer, frame);
            }
            net::Command::ClosePeer { peer } => {
                self.closed.push((id, peer));
                for pair in [(id, peer), (peer, id)] {
                    self.open.remove(&pair);
                    self.opening.remove(&pair);
                    self.queued.retain(|(from, to, _)| (*from, *to) != pair);
                }
                let event =
                    net::Event::PeerClosed { peer: id, reason: "closed by the peer".to_owned() };
                self.queue.push_back((peer, Delivery::Input(Input::Transport(event))));
            }
        }
    }

    fn send_peer(&mut self, from: NodeId, to: NodeId, frame: PeerFrame) {
        if self.open.contains(&(from, to)) {
            self.queue.push_back((to, Delivery::Peer { from, frame }));
        } else if self.opening.contains(&(from, to)) {
            self.queued.push((from, to, frame));
        }
    }

    fn server(&mut self, from: NodeId, message: ToServer) {
        let model = package().model;
        match message {
            ToServer::Hello { .. } => {
                self.server_says(from, FromServer::Challenge { nonce: [9; 32] })
            }
            ToServer::Prove { signature } => {
                assert!(verify(
                    from,
                    Purpose::Challenge,
                    &challenge_bytes(&[9; 32], from),
                    &signature
                ));
                let models =
                    vec![ModelSummary { id: model, name: "potluck-tiny".to_owned(), layers: 6 }];
                self.server_says(from, FromServer::Welcome { ice_servers: Vec::new(), models });
            }
            ToServer::Register(_) => {
                let layers = self.assignments.get(&from).copied();
                self.server_says(from, FromServer::Assign { model, layers });
            }
            ToServer::Deregister => {
                self.holding.remove(&from);
            }
            ToServer::LayersReady { layers, .. } => {
                self.holding.insert(from, layers);
                self.route();
            }
            ToServer::Ask { request, exclude, .. } => {
                self.asks.push((from, request, exclude));
                self.route();
            }
            ToServer::Cancel { request } => {
                self.asks.retain(|ask| (ask.0, ask.1) != (from, request))
            }
            ToServer::EndSession { session, reason, failed_node } => {
                let Some(known) = self.sessions.get(&session).cloned() else { return };
                let others = known.stages.iter().map(|stage| stage.node).chain([known.requester]);
                for other in others.filter(|other| *other != from) {
                    let ended =
                        FromServer::SessionEnded { session, reason: reason.clone(), failed_node };
                    self.server_says(other, ended);
                }
            }
            ToServer::Signal { to, signal } => {
                self.server_says(to, FromServer::Signal { from, signal })
            }
            ToServer::Receipt(signed) => {
                assert!(signed.is_signed_by_both());
                let receipt = signed.receipt.id();
                let verdict = self.verdict.clone().unwrap_or(Verdict::Credited { balance_macs: 1 });
                if matches!(verdict, Verdict::Credited { .. }) {
                    self.receipts.push(*signed);
                }
                self.server_says(from, FromServer::ReceiptResult { receipt, verdict });
            }
            ToServer::Report(_) => {}
        }
    }

    /// Routes every waiting question if all layers are held: at each layer on to whoever reaches
    /// farthest, without those to exclude if possible.
    fn route(&mut self) {
        let model = package().model;
        for (requester, request, exclude) in std::mem::take(&mut self.asks) {
            match self.stages(&exclude).or_else(|_| self.stages(&[])) {
                Ok(stages) => {
                    let id = SessionId([self.next_session; 16]);
                    self.next_session += 1;
                    let epochs = vec![Epoch(1); stages.len() + 1];
                    let session = Session { id, model, requester, stages, epochs };
                    self.sessions.insert(id, session.clone());
                    for stage in &session.stages {
                        self.server_says(
                            stage.node,
                            FromServer::Serve { session: session.clone() },
                        );
                    }
                    self.server_says(requester, FromServer::Route { request, session });
                }
                Err(missing) => {
                    self.asks.push((requester, request, exclude));
                    self.server_says(requester, FromServer::Waiting { request, missing });
                }
            }
        }
    }

    /// A way through all layers, or those that nobody holds.
    fn stages(&self, exclude: &[NodeId]) -> Result<Vec<Stage>, Vec<LayerRange>> {
        let (mut stages, mut missing, mut next) = (Vec::new(), Vec::new(), 0);
        while next < 6 {
            let holders = self.holding.iter().filter(|(node, _)| !exclude.contains(node));
            let reaching = holders.clone().filter(|(_, layers)| layers.indices().contains(&next));
            if let Some((node, layers)) = reaching.max_by_key(|(node, layers)| (layers.end, **node))
            {
                stages.push(Stage {
                    node: *node,
                    layers: LayerRange { first: next, end: layers.end },
                });
                next = layers.end;
            } else {
                let end = holders
                    .map(|(_, layers)| layers.first)
                    .filter(|first| *first > next)
                    .min()
                    .unwrap_or(6);
                missing.push(LayerRange { first: next, end });
                next = end;
            }
        }
        if missing.is_empty() { Ok(stages) } else { Err(missing) }
    }

    fn machine(&mut self, id: NodeId, action: Action) -> Option<MachineEvent> {
        let package = package();
        let member = self.members.get_mut(&id)?;
        match action {
            Action::StartEngine { .. } => {
                let engine = block_on(Engine::new(BackendChoice::Cpu)).unwrap();
                let info = engine.backend();
                let event = MachineEvent::EngineReady(EngineDescription {
                    backend: info.kind.to_owned(),
                    adapter: info.adapter.clone(),
                    note: None,
                    macs_per_ms: 1_000,
                });
                member.engine = Some(engine);
                Some(event)
            }
            Action::StopEngine => {
                member.engine = None;
                None
            }
            Action::FetchManifest { model } => {
                Some(MachineEvent::Manifest { model, result: Ok(Arc::clone(&package.manifest)) })
            }
            Action::FetchTokenizer { model, blob } => {
                let tokenizer =
                    Tokenizer::from_bytes(&package.blob(&blob.hash.to_string())).unwrap();
                Some(MachineEvent::Tokenizer { model, result: Ok(Arc::new(tokenizer)) })
            }
            Action::FetchBlob { model, manifest, role, blob } => {
                let bytes = package.blob(&blob.hash.to_string());
                let engine = member.engine.as_mut()?;
                if role == BlobRole::Tables {
                    engine.set_model(manifest, &bytes).unwrap();
                } else {
                    engine.load(role, &bytes).unwrap();
                }
                Some(MachineEvent::Loaded { model, role, result: Ok(()) })
            }
            Action::Unload { role } => {
                member.engine.as_mut()?.unload(role);
                None
            }
            Action::OpenSession { session, layers } => {
                member.engine.as_mut()?.open_session(session.as_u128(), layers.indices()).unwrap();
                None
            }
            Action::CloseSession { session } => {
                member.engine.as_mut()?.close_session(session.as_u128());
                None
            }
            Action::Compute(step) => {
                let StepRequest { session, position, rows, input, sampling } = step;
                let engine = member.engine.as_mut()?;
                let input = match &input {
                    StepInput::Tokens(tokens) => EngineInput::Tokens(tokens),
                    StepInput::Hidden(values) => EngineInput::Hidden(values),
                };
                let want = sampling.map_or(OutputRequest::Nothing, |s| {
                    OutputRequest::Token(sampler::Sampling {
                        temperature_milli: s.temperature_milli,
                        top_k: s.top_k,
                        top_p_milli: s.top_p_milli,
                        seed: s.seed,
                    })
                });
                let output = block_on(engine.forward(session.as_u128(), position, input, want));
                Some(MachineEvent::Computed(StepResult {
                    session,
                    position,
                    rows,
                    sampling,
                    output: output.map_err(Into::into),
                    elapsed: Duration::from_micros(500),
                }))
            }
            Action::Transport(_) | Action::Notice(_) => None,
        }
    }
}
