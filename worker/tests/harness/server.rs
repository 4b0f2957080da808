//! The server as nodes see it: the real scheduler and the ledger's own checks, behind what the
//! socket layer does without sockets (handshake, epochs, signals between peers of a session).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use potluck_ledger::check::{Place, Progress, Terms, check, place};
use potluck_net::memory::{ConnectionId, ServerEvent};
use potluck_protocol::codec;
use potluck_protocol::id::{LayerRange, NodeId, SessionId};
use potluck_protocol::identity::{Identity, Purpose, verify};
use potluck_protocol::receipt::SignedReceipt;
use potluck_protocol::server::{FromServer, Session, ToServer, Verdict, challenge_bytes};
use potluck_protocol::ticket::SignedTicket;
use potluck_protocol::{NUMERICS_VERSION, PROTOCOL_VERSION};
use potluck_server::authority::Authority;
use potluck_server::models::Models;
use potluck_server::scheduler::{Action, Event, Scheduler, Settings, Standing};

use super::package;

/// The server.
pub struct Server {
    pub scheduler: Scheduler,
    models: Arc<Models>,
    pub authority: Arc<Authority>,
    seed: u64,
    connections: BTreeMap<ConnectionId, Handshake>,
    nodes: BTreeMap<NodeId, ConnectionId>,
    /// Where set, a node that registers is assigned this at once, and the scheduler learns of it by
    /// the lease, as after a restart. A scheduler's own plan spreads a model over as many nodes as
    /// it has layers; scenarios want a given cut.
    pub assignments: HashMap<NodeId, LayerRange>,
    /// In the order in which they were opened.
    pub sessions: Vec<Session>,
    /// Credited, in order.
    pub receipts: Vec<SignedReceipt>,
    credited: HashMap<(SessionId, NodeId), Progress>,
    balances: HashMap<NodeId, u64>,
    /// Why receipts were refused.
    pub refusals: Vec<String>,
    /// While set, receipts are answered with this and not looked at.
    pub verdict: Option<Verdict>,
    /// Every receipt that was handed in: its session, stage and number.
    pub handed_in: Vec<(SessionId, NodeId, u32)>,
    /// Why sessions were ended, and by whom.
    pub ended: Vec<(NodeId, String)>,
    challenges: u8,
}

#[derive(Clone, Copy)]
enum Handshake {
    Dialled,
    Challenged { node: NodeId, nonce: [u8; 32] },
    Done(NodeId),
}

/// What the server sends, or, without a message, that it hangs up.
pub type Reply = (ConnectionId, Option<FromServer>);

/// The scheduler plans so long after a change.
pub const PLAN_AFTER: Duration = Duration::from_millis(300);
/// In swarms whose cut is given, it never does.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Time since 1970 when a scenario begins.
pub const START: Duration = Duration::from_secs(1_790_000_000);

impl Server {
    /// A server that plans by itself, or assigns only what it is told.
    pub fn new(seed: u64, plans: bool) -> Self {
        let models = Arc::new(Models::open(package().path()).unwrap());
        let authority = Arc::new(Authority::new(Identity::from_seed(&[0xa0; 32]), START));
        Self {
            scheduler: scheduler(&models, &authority, seed, plans),
            models,
            authority,
            seed,
            connections: BTreeMap::new(),
            nodes: BTreeMap::new(),
            assignments: HashMap::new(),
            sessions: Vec::new(),
            receipts: Vec::new(),
            credited: HashMap::new(),
            balances: HashMap::new(),
            refusals: Vec::new(),
            verdict: None,
            handed_in: Vec::new(),
            ended: Vec::new(),
            challenges: 0,
        }
    }

    /// Everything that is not on disk is forgotten: sessions and credit stay.
    pub fn restart(&mut self, plans: bool) {
        self.seed += 1;
        self.scheduler = scheduler(&self.models, &self.authority, self.seed, plans);
        self.connections.clear();
        self.nodes.clear();
    }

    pub fn handle(
        &mut self,
        connection: ConnectionId,
        event: ServerEvent,
        now: Duration,
    ) -> Vec<Reply> {
        match event {
            ServerEvent::Opened => {
                self.connections.insert(connection, Handshake::Dialled);
                Vec::new()
            }
            ServerEvent::Closed => self.closed(connection, now),
            ServerEvent::Message(message) => {
                let message = codec::decode_to_server(&message).unwrap();
                match self.connections.get(&connection) {
                    Some(&Handshake::Done(node)) => self.message(node, connection, message, now),
                    Some(_) => self.shake_hands(connection, message, now),
                    None => Vec::new(),
                }
            }
        }
    }

    /// Time passed.
    pub fn tick(&mut self, now: Duration) -> Vec<Reply> {
        let actions = self.scheduler.tick(now);
        self.act(actions)
    }

    fn closed(&mut self, connection: ConnectionId, now: Duration) -> Vec<Reply> {
        match self.connections.remove(&connection) {
            Some(Handshake::Done(node)) if self.nodes.get(&node) == Some(&connection) => {
                self.nodes.remove(&node);
                self.schedule(node, Event::Left, now)
            }
            _ => Vec::new(),
        }
    }

    fn shake_hands(
        &mut self,
        connection: ConnectionId,
        message: ToServer,
        now: Duration,
    ) -> Vec<Reply> {
        match (message, self.connections[&connection]) {
            (ToServer::Hello { protocol, numerics, node }, Handshake::Dialled) => {
                assert_eq!((protocol, numerics), (PROTOCOL_VERSION, NUMERICS_VERSION));
                self.challenges = self.challenges.wrapping_add(1);
                let nonce = [self.challenges; 32];
                self.connections.insert(connection, Handshake::Challenged { node, nonce });
                vec![(connection, Some(FromServer::Challenge { nonce }))]
            }
            (ToServer::Prove { origin, signature, .. }, Handshake::Challenged { node, nonce }) => {
                let bytes = challenge_bytes(&nonce, node, &origin);
                assert!(verify(node, Purpose::Challenge, &bytes, &signature));
                let models = self.models.summaries();
                let welcome =
                    FromServer::Welcome { ice_servers: Vec::new(), models, heartbeat_ms: 5_000 };
                let mut replies = vec![(connection, Some(welcome))];
                self.connections.insert(connection, Handshake::Done(node));
                if let Some(old) = self.nodes.insert(node, connection) {
                    self.connections.remove(&old);
                    let reason = "this identity connected elsewhere".to_owned();
                    let refused = FromServer::Refused { reason, retry_after_ms: None };
                    replies.extend([(old, Some(refused)), (old, None)]);
                    replies.extend(self.schedule(node, Event::Left, now));
                }
                replies.extend(self.schedule(node, Event::Joined(Standing::default()), now));
                replies
            }
            (message, _) => panic!("{message:?} in the handshake"),
        }
    }

    fn message(
        &mut self,
        from: NodeId,
        connection: ConnectionId,
        message: ToServer,
        now: Duration,
    ) -> Vec<Reply> {
        match message {
            ToServer::Signal { to, signal } => {
                let connection = self.nodes.get(&to).copied();
                let connection = connection.filter(|_| self.scheduler.share_session(from, to, now));
                let signal = FromServer::Signal { from, signal };
                connection.map(|connection| (connection, Some(signal))).into_iter().collect()
            }
            ToServer::Heartbeat => vec![(connection, Some(FromServer::Heartbeat))],
            ToServer::Receipt { receipt: signed, ticket } => {
                let receipt = signed.receipt.id();
                let (known, stage) = (self.receipts.len(), signed.receipt.stage);
                self.handed_in.push((signed.receipt.session, stage, signed.receipt.sequence));
                let verdict = self.credit(&signed, &ticket, from, now);
                let result = FromServer::ReceiptResult { receipt, verdict };
                let mut replies = vec![(connection, Some(result))];
                if self.receipts.len() > known {
                    let session = signed.receipt.session;
                    let macs = self.models.get(signed.receipt.model);
                    let macs = macs.map_or(0, |model| model.work.macs(&signed.receipt));
                    replies.extend(self.schedule(stage, Event::Worked { session, macs }, now));
                }
                replies
            }
            message => {
                if let ToServer::EndSession { reason, .. } = &message {
                    self.ended.push((from, reason.clone()));
                }
                let Some((message, assign)) = self.pinned(from, &message, now) else {
                    return self.schedule(from, Event::Received(message), now);
                };
                let mut replies = self.schedule(from, Event::Received(message), now);
                replies.push((connection, Some(assign)));
                replies
            }
        }
    }

    /// A registration with the lease that a node is to have, and the assignment to it.
    fn pinned(
        &self,
        from: NodeId,
        message: &ToServer,
        now: Duration,
    ) -> Option<(ToServer, FromServer)> {
        let ToServer::Register { capabilities, grant, .. } = message else { return None };
        let model = package().model;
        let layers = *self.assignments.get(&from)?;
        let lease = self.authority.lease(from, model, layers, grant.grant.until_s, now);
        let (capabilities, grant) = (capabilities.clone(), grant.clone());
        let register = ToServer::Register { capabilities, grant, lease: Some(lease.clone()) };
        Some((register, FromServer::Assign { model, lease: Some(lease) }))
    }

    /// As the server does, in memory; but that receipts may come at once, as virtual time stands
    /// still while nodes compute.
    fn credit(
        &mut self,
        signed: &SignedReceipt,
        ticket: &SignedTicket,
        from: NodeId,
        now: Duration,
    ) -> Verdict {
        if let Some(verdict) = &self.verdict {
            return verdict.clone();
        }
        let receipt = &signed.receipt;
        let balance = self.balances.entry(receipt.stage).or_default();
        if self.receipts.contains(signed) {
            return Verdict::Credited { balance_macs: *balance };
        }
        let Some(model) = self.models.get(receipt.model) else {
            return Verdict::Refused { reason: "no such model".to_owned() };
        };
        let terms = Terms {
            server: self.authority.server(),
            from,
            model_layers: model.layers,
            max_positions: model.max_positions,
            now_s: self.authority.unix_time(now).as_secs(),
        };
        let progress = self.credited.entry((receipt.session, receipt.stage)).or_default();
        match check(signed, ticket, &terms).and_then(|()| place(receipt, *progress)) {
            Ok(Place::Next) => {}
            Ok(Place::Gap) => return Verdict::TryAgain,
            Ok(Place::Earlier) => {
                let reason = "another one of this number".to_owned();
                self.refusals.push(reason.clone());
                return Verdict::Refused { reason };
            }
            Err(refusal) => {
                self.refusals.push(refusal.to_string());
                return Verdict::Refused { reason: refusal.to_string() };
            }
        }
        progress.next_sequence += 1;
        progress.next_position = receipt.to_position;
        *balance += model.work.macs(receipt);
        self.receipts.push(signed.clone());
        Verdict::Credited { balance_macs: *balance }
    }

    fn schedule(&mut self, node: NodeId, event: Event, now: Duration) -> Vec<Reply> {
        match self.scheduler.handle(node, event, now) {
            Ok(actions) => self.act(actions),
            Err(fault) => {
                let reason = fault.to_string();
                let refused = FromServer::Refused { reason, retry_after_ms: None };
                self.act(vec![Action::Send(node, refused)])
            }
        }
    }

    fn act(&mut self, actions: Vec<Action>) -> Vec<Reply> {
        let mut replies = Vec::new();
        for action in actions {
            let Action::Send(node, message) = action;
            if let FromServer::Route { session, .. } = &message {
                self.sessions.push(session.clone());
            }
            let connection = self.nodes.get(&node);
            replies.extend(connection.map(|connection| (*connection, Some(message))));
        }
        replies
    }

    /// The connection of a node that has proved its key.
    pub fn connection_of(&self, node: NodeId) -> Option<ConnectionId> {
        self.nodes.get(&node).copied()
    }
}

fn scheduler(
    models: &Arc<Models>,
    authority: &Arc<Authority>,
    seed: u64,
    plans: bool,
) -> Scheduler {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let plan_delay = if plans { PLAN_AFTER } else { NEVER };
    Scheduler::new(Settings {
        models: Arc::clone(models),
        authority: Arc::clone(authority),
        plan_delay,
        same_address_earns: false,
        seed: bytes,
    })
}
