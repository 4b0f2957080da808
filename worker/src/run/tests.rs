//! The loop with a real engine, and a transport that does what a script says.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::channel::mpsc;
use potluck_model::package::{BlobRole, ModelConfig};
use potluck_model::synthetic::{Synthetic, config};
use potluck_net::{Command as NetCommand, Event};
use potluck_protocol::codec::{self, INITIAL_WINDOW_ROWS};
use potluck_protocol::grant::Terms;
use potluck_protocol::id::{Epoch, LayerRange, ModelId, NodeId, SessionId};
use potluck_protocol::identity::Identity;
use potluck_protocol::lease::{Lease, SignedLease};
use potluck_protocol::page::BackendPreference;
use potluck_protocol::peer::{Channel, PeerFrame};
use potluck_protocol::server::{FromServer, NodeKind, Session, Stage, ToServer};
use potluck_protocol::ticket::{SignedTicket, Ticket};

use super::*;

const REQUESTER: NodeId = NodeId([1; 32]);
const NEXT: NodeId = NodeId([2; 32]);
/// Each is sent steps until its context is full.
const SESSIONS: u8 = 8;
const FIRST_LAYER: LayerRange = LayerRange { first: 0, end: 1 };
const ROWS: usize = codec::MAX_ROWS;
const CONTEXT: usize = 4 * ROWS;

/// A server that makes the node the first of two stages as soon as it is ready, a requester that
/// sends it as much as there is room for, and a second stage that has room at once.
struct Script {
    node: NodeId,
    model: ModelId,
    events: VecDeque<Event>,
    /// Rows of each session.
    sent: HashMap<SessionId, usize>,
    /// Ends the run when everything is computed.
    commands: Option<mpsc::Sender<Command>>,
    rows: Arc<Mutex<Rows>>,
}

#[derive(Debug, Default)]
struct Rows {
    read: usize,
    computed: usize,
    /// The most that were read and not computed at any time.
    most_waiting: usize,
    /// How many were computed when the requester got its answer to a ping behind all that it sent.
    computed_at_pong: Option<usize>,
}

impl Script {
    fn server_message(&mut self, message: &FromServer) {
        self.events.push_back(Event::ServerMessage { message: codec::encode(message) });
    }

    fn start_sessions(&mut self) {
        for id in 1..=SESSIONS {
            let session = Session {
                id: SessionId([id; 16]),
                model: self.model,
                requester: REQUESTER,
                stages: vec![
                    Stage { node: self.node, layers: LayerRange { first: 0, end: 1 } },
                    Stage { node: NEXT, layers: LayerRange { first: 1, end: 2 } },
                ],
                epochs: vec![Epoch(0); 3],
                continues: None,
            };
            let ticket = Ticket {
                session: session.id,
                model: session.model,
                requester: session.requester,
                stage: self.node,
                layers: FIRST_LAYER,
                opened_ms: 0,
                until_s: u64::MAX,
                earns: true,
                continues: false,
            };
            let server = Identity::from_seed(&[0xa0; 32]);
            let ticket = Box::new(SignedTicket::new(&server, ticket));
            self.server_message(&FromServer::Serve { session, ticket });
        }
        for position in (0..INITIAL_WINDOW_ROWS as usize).step_by(ROWS) {
            for id in 1..=SESSIONS {
                self.send_step(SessionId([id; 16]), position);
            }
        }
        self.peer_frame(REQUESTER, &PeerFrame::Ping { session: SessionId([1; 16]) });
    }

    fn send_step(&mut self, session: SessionId, position: usize) {
        self.sent.insert(session, position + ROWS);
        let position = u32::try_from(position).unwrap();
        let step = PeerFrame::Step { session, position, tokens: vec![5; ROWS], sampling: None };
        self.peer_frame(REQUESTER, &step);
    }

    fn peer_frame(&mut self, peer: NodeId, frame: &PeerFrame) {
        let (channel, frame) = (frame.channel(), codec::encode(frame));
        self.events.push_back(Event::PeerFrame { peer, channel, frame });
    }

    fn handle_frame(&mut self, peer: NodeId, frame: PeerFrame) {
        match (peer, frame) {
            (NEXT, PeerFrame::Hidden { session, rows, .. }) => {
                let mut counted = self.rows.lock().unwrap();
                counted.computed += rows as usize;
                if counted.computed == usize::from(SESSIONS) * CONTEXT {
                    self.commands = None;
                }
                drop(counted);
                self.peer_frame(NEXT, &PeerFrame::Window { session, rows });
            }
            (REQUESTER, PeerFrame::Window { session, rows }) => {
                assert_eq!(rows as usize, ROWS);
                let position = self.sent[&session];
                if position < CONTEXT {
                    self.send_step(session, position);
                }
            }
            (REQUESTER, PeerFrame::Pong { .. }) => {
                let mut rows = self.rows.lock().unwrap();
                rows.computed_at_pong = Some(rows.computed);
            }
            (_, frame) => assert!(!matches!(frame, PeerFrame::Failed { .. }), "{frame:?}"),
        }
    }

    fn handle_message(&mut self, message: &ToServer) {
        match message {
            ToServer::Hello { .. } => self.server_message(&FromServer::Welcome {
                ice_servers: Vec::new(),
                models: Vec::new(),
                heartbeat_ms: 5_000,
            }),
            ToServer::Register { .. } => {
                let (node, model, layers) = (self.node, self.model, FIRST_LAYER);
                let lease = Lease { node, model, layers, until_s: u64::MAX };
                let lease = Some(SignedLease::new(&Identity::from_seed(&[0xa0; 32]), lease));
                self.server_message(&FromServer::Assign { model, lease });
            }
            ToServer::LayersReady { .. } => self.start_sessions(),
            _ => {}
        }
    }
}

impl Transport for Script {
    fn send(&mut self, command: NetCommand) {
        match command {
            NetCommand::OpenServer { .. } => self.events.push_back(Event::ServerOpen),
            NetCommand::SendServer { message } => {
                self.handle_message(&codec::decode_to_server(&message).unwrap());
            }
            NetCommand::OpenPeer { peer, .. } => self.events.push_front(Event::PeerOpen { peer }),
            NetCommand::SendPeer { peer, frame, .. } => {
                self.handle_frame(peer, codec::decode_peer_frame(&frame).unwrap());
            }
            _ => {}
        }
    }

    async fn next_event(&mut self) -> Event {
        let Some(event) = self.events.pop_front() else { return std::future::pending().await };
        if let Event::PeerFrame { channel: Channel::Activations, .. } = event {
            let mut rows = self.rows.lock().unwrap();
            rows.read += ROWS;
            rows.most_waiting = rows.most_waiting.max(rows.read - rows.computed);
        }
        event
    }
}

/// A model in the cache that `folder` is; its id.
fn cached(shape: ModelConfig, folder: &tempfile::TempDir) -> ModelId {
    let model = Synthetic::new(shape, 3);
    for (role, blob) in model.manifest.blobs_for(0..1) {
        let bytes: &[u8] = model.blob(role);
        std::fs::write(folder.path().join(blob.hash.to_string()), bytes).unwrap();
    }
    assert!(model.manifest.blobs_for(0..1).iter().any(|(role, _)| *role == BlobRole::Embedding));
    let manifest = serde_json::to_vec(&model.manifest).unwrap();
    let id = ModelId(*blake3::hash(&manifest).as_bytes());
    std::fs::write(folder.path().join(id.to_string()), manifest).unwrap();
    id
}

#[tokio::test]
async fn a_ping_behind_long_prompts_is_answered_before_they_are_computed() {
    let folder = tempfile::tempdir().unwrap();
    let context = u32::try_from(CONTEXT).unwrap();
    let model = cached(config(2, 32, 32, (1, 1, 32), 9, context), &folder);
    let node = Node::new(Identity::from_seed(&[7; 32]), NodeKind::Native);
    let (mut commands, receiver) = mpsc::channel(8);
    let server = "http://127.0.0.1:9".to_owned();
    commands.try_send(Command::Connect { server, room: None }).unwrap();
    let backend = BackendPreference::Cpu;
    commands.try_send(Command::Lend { backend, terms: Terms::default() }).unwrap();
    let rows = Arc::<Mutex<Rows>>::default();
    let script = Script {
        node: node.id(),
        model,
        events: VecDeque::new(),
        sent: HashMap::new(),
        commands: Some(commands),
        rows: Arc::clone(&rows),
    };
    let store = WeightStore::new(platform::BlobCache::new(folder.path()));
    run(node, script, receiver, store, |_| ()).await;
    let rows = rows.lock().unwrap();
    assert_eq!(rows.computed, usize::from(SESSIONS) * CONTEXT, "nothing was lost");
    assert_eq!(rows.computed_at_pong, Some(0), "nothing that is sent is in the way of it");
    let windows = usize::from(SESSIONS) * INITIAL_WINDOW_ROWS as usize;
    assert_eq!(rows.most_waiting, windows, "every session fills its window, and no more");
}
