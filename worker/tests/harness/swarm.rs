//! Nodes, network and server, and what goes on between them in virtual time.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use potluck_net as net;
use potluck_net::memory::{self, Agenda, Fault, Loss, MemoryNetwork, Profile};
use potluck_protocol::chat::Conversation;
use potluck_protocol::codec;
use potluck_protocol::grant::{Limits, Place, Terms};
use potluck_protocol::id::{LayerRange, NodeId, RequestId};
use potluck_protocol::identity::Identity;
use potluck_protocol::page::{
    Ask, BackendPreference, Command, Notice, Own, OwnPart, SamplingChoice,
};
use potluck_protocol::peer::{Channel, PeerFrame};
use potluck_protocol::server::{FromServer, NodeKind, Session};
use potluck_worker::node::{Action, Input, Node, Now, TICK};

use super::machine::Machine;
use super::server::{Reply, START, Server};

/// One thing about to reach a node.
#[derive(Debug)]
pub enum Delivery {
    Input(Input),
    Server(FromServer),
    Peer { from: NodeId, frame: PeerFrame },
}

struct Member {
    node: Node,
    machine: Machine,
    /// For its own questions.
    own: Machine,
    is_frozen: bool,
    /// How far its calendar is ahead of the others'.
    ahead: Duration,
}

/// What a node has coming without the network.
enum Local {
    Tick(NodeId),
    Computed(NodeId, Box<Input>),
}

/// The swarm.
pub struct Swarm {
    members: BTreeMap<NodeId, Member>,
    pub network: MemoryNetwork,
    pub server: Server,
    /// Whether the scheduler plans by itself.
    plans: bool,
    /// What happens next, before anything that is under way.
    pub queue: VecDeque<(NodeId, Delivery)>,
    local: Agenda<Local>,
    computing: usize,
    /// Connections that a node (first) believes to be open.
    pub open: HashSet<(NodeId, NodeId)>,
    pub notices: Vec<(NodeId, Notice)>,
    /// Peers that a node closed by itself.
    pub closed: Vec<(NodeId, NodeId)>,
    /// What nodes wanted done for their own questions, by the action's name.
    pub own: Vec<(NodeId, String)>,
    /// Steps that nodes began to compute, and on which second of their own calendar.
    pub computed: Vec<(NodeId, u64)>,
    pub now: Duration,
}

/// Memory that every volunteer offers unless a test says otherwise.
const MEMORY_BYTES: u64 = 1 << 30;

impl Swarm {
    /// `count` connected nodes; the first `ranges.len()` of them lend and are assigned these
    /// layers.
    pub fn new(count: u8, ranges: &[(u32, u32)]) -> (Self, Vec<NodeId>) {
        Self::seeded(1, count, ranges)
    }

    /// The same over a network with other delays.
    pub fn seeded(seed: u64, count: u8, ranges: &[(u32, u32)]) -> (Self, Vec<NodeId>) {
        let (mut swarm, ids) = Self::connected(seed, count, false);
        for (id, (first, end)) in ids.iter().zip(ranges) {
            swarm.server.assignments.insert(*id, LayerRange { first: *first, end: *end });
            swarm.lend(*id, MEMORY_BYTES);
        }
        swarm.settle();
        (swarm, ids)
    }

    /// `count` connected nodes; the first `volunteers` of them lend, and the scheduler plans who
    /// computes what.
    pub fn planned(seed: u64, count: u8, volunteers: usize) -> (Self, Vec<NodeId>) {
        let (mut swarm, ids) = Self::connected(seed, count, true);
        for id in &ids[..volunteers] {
            swarm.lend(*id, MEMORY_BYTES);
        }
        swarm.settle();
        (swarm, ids)
    }

    fn connected(seed: u64, count: u8, plans: bool) -> (Self, Vec<NodeId>) {
        let mut swarm = Self {
            members: BTreeMap::new(),
            network: MemoryNetwork::new(seed, Profile::default()),
            server: Server::new(seed, plans),
            plans,
            queue: VecDeque::new(),
            local: Agenda::default(),
            computing: 0,
            open: HashSet::new(),
            notices: Vec::new(),
            closed: Vec::new(),
            own: Vec::new(),
            computed: Vec::new(),
            now: Duration::ZERO,
        };
        let mut ids = Vec::new();
        for seed in 1..=count {
            let node = Node::new(Identity::from_seed(&[seed; 32]), NodeKind::Native);
            let id = node.id();
            ids.push(id);
            let (machine, own) = (Machine::default(), Machine::default());
            let member = Member { node, machine, own, is_frozen: false, ahead: Duration::ZERO };
            swarm.members.insert(id, member);
            swarm.local.push(TICK * u32::from(seed) / u32::from(count), Local::Tick(id));
            swarm.command(id, Command::Connect { server: "http://test".to_owned(), room: None });
        }
        (swarm, ids)
    }

    pub fn command(&mut self, to: NodeId, command: Command) {
        self.queue.push_back((to, Delivery::Input(Input::Command(command))));
    }

    pub fn lend(&mut self, id: NodeId, memory_bytes: u64) {
        let limits = Limits { memory_bytes, ..Limits::native() };
        let terms = Terms { limits, place: Place::Native, ..Terms::default() };
        self.command(id, Command::Lend { backend: BackendPreference::Cpu, terms });
    }

    pub fn ask(&mut self, from: NodeId, prompt: &str, seed: u64, max_tokens: u32) {
        self.go_on(from, prompt, seed, max_tokens, Vec::new());
    }

    /// Asks, and computes `part` at the asker's own node.
    pub fn ask_with_own(
        &mut self,
        from: NodeId,
        prompt: &str,
        seed: u64,
        max_tokens: u32,
        part: OwnPart,
    ) {
        let ask = ask(prompt, seed, max_tokens, Vec::new(), Some(own(part)));
        self.command(from, Command::Ask(ask));
    }

    /// Asks for tokens to be sampled so; `part` of it is computed at the asker's own node.
    pub fn ask_sampled(
        &mut self,
        from: NodeId,
        prompt: &str,
        sampling: SamplingChoice,
        max_tokens: u32,
        part: Option<OwnPart>,
    ) {
        let ask = ask(prompt, sampling.seed, max_tokens, Vec::new(), part.map(own));
        self.command(from, Command::Ask(Ask { sampling, ..ask }));
    }

    /// Asks for the next turn of a conversation, of which more will be said.
    pub fn say(&mut self, from: NodeId, conversation: &Conversation, max_tokens: u32) {
        let conversation = conversation.clone();
        let ask = ask("", 1, max_tokens, Vec::new(), None);
        self.command(from, Command::Ask(Ask { conversation, keeps: true, ..ask }));
    }

    /// Gives the question up.
    pub fn cancel(&mut self, from: NodeId) {
        self.command(from, Command::Cancel { request: RequestId(7) });
    }

    /// Asks for the rest of an answer.
    pub fn go_on(
        &mut self,
        from: NodeId,
        prompt: &str,
        seed: u64,
        max_tokens: u32,
        sampled: Vec<u32>,
    ) {
        self.command(from, Command::Ask(ask(prompt, seed, max_tokens, sampled, None)));
    }

    /// Delivers until nothing is under way. Time goes on as far as that takes.
    pub fn settle(&mut self) {
        self.settle_with(|_, _, _| true);
    }

    /// The same; `look` sees every delivery first, but for ticks, and may refuse it.
    pub fn settle_with(&mut self, mut look: impl FnMut(&mut Self, NodeId, &mut Delivery) -> bool) {
        while self.is_busy() {
            self.step(Duration::MAX, &mut look);
        }
    }

    /// Lets time pass for everyone, and then delivers what is under way.
    pub fn pass(&mut self, time: Duration) {
        self.pass_with(time, |_, _, _| true);
    }

    /// The same; `look` sees every delivery first, but for ticks, and may refuse it.
    pub fn pass_with(
        &mut self,
        time: Duration,
        mut look: impl FnMut(&mut Self, NodeId, &mut Delivery) -> bool,
    ) {
        let until = self.now + time;
        while self.step(until, &mut look) {}
        self.now = self.now.max(until);
        self.settle_with(look);
    }

    /// A node vanishes: its connections close, and the server ends its sessions.
    pub fn kill(&mut self, id: NodeId) {
        self.members.remove(&id);
        self.network.happen(Fault::Vanish { node: id, loss: Loss::Noticed });
    }

    /// A node receives and sends nothing any more, and nobody is told.
    pub fn freeze(&mut self, id: NodeId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.is_frozen = true;
        }
        self.network.happen(Fault::Freeze(id));
    }

    /// A node's calendar is so far ahead of the others' from now on.
    pub fn set_calendar_ahead(&mut self, id: NodeId, ahead: Duration) {
        if let Some(member) = self.members.get_mut(&id) {
            member.ahead = ahead;
        }
    }

    /// Time since 1970 by a node's own calendar.
    pub fn calendar(&self, id: NodeId) -> Duration {
        START + self.now + self.members.get(&id).map_or(Duration::ZERO, |member| member.ahead)
    }

    /// A connection between two nodes breaks; both notice.
    pub fn cut(&mut self, a: NodeId, b: NodeId) {
        self.network.happen(Fault::Peers { a, b, loss: Loss::Noticed });
    }

    /// The server is gone, with all that it does not keep on disk, until it is started again.
    pub fn stop_server(&mut self, reason: &str) {
        self.network.stop_server(reason);
        self.server.restart(self.plans);
    }

    pub fn start_server(&mut self) {
        self.network.start_server();
    }

    /// The latest session, if there is one.
    pub fn running_session(&self) -> Option<Session> {
        self.server.sessions.last().cloned()
    }

    /// The running or last session.
    pub fn session(&self) -> Session {
        self.running_session().unwrap()
    }

    /// Lets a message of the server reach a node now, past the network: one that was held back.
    pub fn server_says(&mut self, to: NodeId, message: FromServer) {
        self.queue.push_back((to, Delivery::Server(message)));
    }

    /// Lets a frame reach a node now, past the network: one that was held back.
    pub fn peer_says(&mut self, to: NodeId, from: NodeId, frame: PeerFrame) {
        self.queue.push_back((to, Delivery::Peer { from, frame }));
    }

    /// Sends a frame that the node itself would not, over its open connection.
    pub fn send_frame(&mut self, from: NodeId, to: NodeId, frame: &PeerFrame) {
        self.send_bytes(from, to, frame.channel(), codec::encode(frame));
    }

    /// Sends bytes that need not be a frame at all.
    pub fn send_bytes(&mut self, from: NodeId, to: NodeId, channel: Channel, frame: Vec<u8>) {
        assert!(self.are_connected(from, to), "there is no connection for the frame");
        self.network.command(from, net::Command::SendPeer { peer: to, channel, frame });
    }

    /// True if both believe so.
    pub fn are_connected(&self, a: NodeId, b: NodeId) -> bool {
        self.open.contains(&(a, b)) && self.open.contains(&(b, a))
    }

    fn is_busy(&self) -> bool {
        let plan_is_due = self.plans && self.server.scheduler.next_plan().is_some();
        !self.queue.is_empty() || self.network.under_way() > 0 || self.computing > 0 || plan_is_due
    }

    /// Lets the next thing happen, if that is not later than `until`. False if there is none.
    fn step(
        &mut self,
        until: Duration,
        look: &mut impl FnMut(&mut Self, NodeId, &mut Delivery) -> bool,
    ) -> bool {
        if let Some((to, mut delivery)) = self.queue.pop_front() {
            if look(self, to, &mut delivery) {
                self.deliver(to, delivery);
            }
            return true;
        }
        let plan = self.server.scheduler.next_tick();
        let times = [self.network.next_at(), self.local.next_at(), plan];
        let Some(at) = times.into_iter().flatten().min().filter(|at| *at <= until) else {
            return false;
        };
        let delivery = self.network.advance(at);
        self.now = self.network.now();
        match delivery {
            Some(memory::Delivery::Node { node, event }) => {
                let mut delivery = self.received(node, event);
                if look(self, node, &mut delivery) {
                    self.deliver(node, delivery);
                }
            }
            Some(memory::Delivery::Server { connection, event }) => {
                let replies = self.server.handle(connection, event, self.now);
                self.reply(replies);
            }
            Some(memory::Delivery::Fault(_)) => {}
            None if times[1] == Some(at) => self.local(),
            None => {
                let replies = self.server.tick(self.now);
                self.reply(replies);
            }
        }
        true
    }

    fn local(&mut self) {
        match self.local.pop() {
            Some((_, Local::Tick(id))) if self.members.contains_key(&id) => {
                self.deliver(id, Delivery::Input(Input::Tick));
                self.local.push(self.now + TICK, Local::Tick(id));
            }
            Some((_, Local::Computed(id, input))) => {
                self.computing -= 1;
                self.queue.push_back((id, Delivery::Input(*input)));
            }
            // A node that has left, or nothing at all.
            Some((_, Local::Tick(_))) | None => {}
        }
    }

    /// What a test may look at.
    fn received(&mut self, node: NodeId, event: net::Event) -> Delivery {
        match event {
            net::Event::ServerMessage { message } => {
                Delivery::Server(codec::decode_from_server(&message).unwrap())
            }
            net::Event::PeerFrame { peer, channel, frame } => {
                match codec::decode_peer_frame(&frame) {
                    Ok(frame) if frame.channel() == channel => Delivery::Peer { from: peer, frame },
                    // One that a test made up: for the node to judge.
                    _ => {
                        let event = net::Event::PeerFrame { peer, channel, frame };
                        Delivery::Input(Input::Transport(event))
                    }
                }
            }
            event => {
                match event {
                    net::Event::PeerOpen { peer } => _ = self.open.insert((node, peer)),
                    net::Event::PeerClosed { peer, .. } => _ = self.open.remove(&(node, peer)),
                    _ => {}
                }
                Delivery::Input(Input::Transport(event))
            }
        }
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
        let now = Now { since_start: self.now, calendar: self.calendar(to) };
        let Some(member) = self.members.get_mut(&to).filter(|member| !member.is_frozen) else {
            return;
        };
        for action in member.node.handle(input, now) {
            self.act(to, action);
        }
    }

    fn act(&mut self, id: NodeId, action: Action) {
        match action {
            Action::Transport(command) => {
                match &command {
                    net::Command::OpenPeer { peer, role, .. } => {
                        assert_eq!(*role, net::Role::of(id, *peer));
                    }
                    net::Command::ClosePeer { peer } => {
                        self.open.remove(&(id, *peer));
                        self.closed.push((id, *peer));
                    }
                    _ => {}
                }
                self.network.command(id, command);
            }
            Action::Notice(notice) => self.notices.push((id, notice)),
            action => {
                if matches!(action, Action::Compute(_)) {
                    self.computed.push((id, self.calendar(id).as_secs()));
                }
                let Some(member) = self.members.get_mut(&id) else { return };
                let done = match action {
                    Action::Own(action) => {
                        let name = format!("{action:?}");
                        let end = name.find(|c: char| !c.is_alphabetic()).unwrap_or(name.len());
                        self.own.push((id, name[..end].to_owned()));
                        let done = member.own.perform(*action, self.now);
                        done.map(|(at, event)| (at, Input::Own(event)))
                    }
                    action => {
                        let done = member.machine.perform(action, self.now);
                        done.map(|(at, event)| (at, Input::Machine(event)))
                    }
                };
                match done {
                    Some((at, input)) if at > self.now => {
                        self.computing += 1;
                        self.local.push(at, Local::Computed(id, Box::new(input)));
                    }
                    Some((_, input)) => self.queue.push_back((id, Delivery::Input(input))),
                    None => {}
                }
            }
        }
    }

    fn reply(&mut self, replies: Vec<Reply>) {
        for (connection, message) in replies {
            match message {
                Some(message) => self.network.send(connection, codec::encode(&message)),
                None => self.network.close(connection, "the server hung up"),
            }
        }
    }
}

fn own(part: OwnPart) -> Own {
    Own { part, backend: BackendPreference::Cpu, memory_bytes: MEMORY_BYTES }
}

fn ask(prompt: &str, seed: u64, max_tokens: u32, sampled: Vec<u32>, own: Option<Own>) -> Ask {
    Ask {
        request: RequestId(7),
        model: None,
        conversation: Conversation::question(prompt),
        asked_at_s: 0,
        sampling: SamplingChoice { seed, ..SamplingChoice::default() },
        max_tokens: Some(max_tokens),
        sampled,
        own,
        stops: Vec::new(),
        keeps: false,
        counts_only: false,
    }
}
