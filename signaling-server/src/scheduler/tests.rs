mod bounds;
mod claims;
mod fairness;
mod granted;
mod indexes;
mod kept;
mod middles;
mod newcomers;
mod paces;
mod properties;
mod suspects;

use std::net::IpAddr;

use potluck_protocol::grant::{Limits, SignedGrant, Terms};
use potluck_protocol::id::RequestId;
use potluck_protocol::identity::Identity;
use potluck_protocol::lease::SignedLease;
use potluck_protocol::server::{Capabilities, NodeKind, Session};

use super::*;
use crate::authority::tests::authority;
use crate::models::tests::model;

const PLAN_DELAY: Duration = Duration::from_millis(300);

struct World {
    scheduler: Scheduler,
    model: ModelId,
    layers: u32,
    now: Duration,
    /// The last lease that each node was given.
    leases: BTreeMap<NodeId, SignedLease>,
}

impl World {
    fn new(layers: u32) -> Self {
        let info = model(layers);
        let id = info.id;
        let mut models = Models::default();
        models.add(info);
        let scheduler = scheduler(models);
        Self { scheduler, model: id, layers, now: Duration::ZERO, leases: BTreeMap::new() }
    }

    /// The server forgets everything but its key; nodes keep their leases.
    fn restart(&mut self) {
        let models = Models::clone(&self.scheduler.models);
        self.scheduler = scheduler(models);
    }

    fn send(&mut self, node: u8, message: ToServer) -> Vec<Action> {
        self.handle(node, Event::Received(message))
    }

    fn handle(&mut self, node: u8, event: Event) -> Vec<Action> {
        let actions = self.scheduler.handle(id(node), event, self.now).unwrap();
        self.keep_leases(&actions);
        actions
    }

    fn join(&mut self, node: u8) {
        self.join_as(node, 0, None);
    }

    fn join_as(&mut self, node: u8, credited_macs: u64, address: Option<&str>) {
        let address: Option<IpAddr> = address.map(|address| address.parse().unwrap());
        self.handle(node, Event::Joined(Standing { credited_macs, address }));
    }

    fn register(&mut self, node: u8, speed: u64, memory_bytes: u64) {
        self.join(node);
        self.lend(node, speed, memory_bytes, None);
    }

    /// Lends with what it has shown before.
    fn register_as(&mut self, node: u8, credited_macs: u64) {
        self.join_as(node, credited_macs, None);
        self.lend(node, 1_000_000, GIB, None);
    }

    fn lend(
        &mut self,
        node: u8,
        macs_per_ms: u64,
        memory_bytes: u64,
        lease: Option<SignedLease>,
    ) -> Vec<Action> {
        let (kind, backend) = (NodeKind::Native, "avx2".to_owned());
        let capabilities = Capabilities { kind, backend, memory_bytes, macs_per_ms };
        let now_s = self.scheduler.authority.unix_time(self.now).as_secs();
        let terms =
            Terms { limits: Limits { memory_bytes, ..Limits::native() }, ..Terms::default() };
        let grant = terms.grant(id(node), "http://test".to_owned(), now_s);
        let grant = Box::new(SignedGrant::new(&Identity::from_seed(&[node; 32]), grant));
        self.send(node, ToServer::Register { capabilities, grant, lease })
    }

    fn ready(&mut self, node: u8, first: u32, end: u32) -> Vec<Action> {
        self.send(node, ToServer::LayersReady { model: self.model, layers: range(first, end) })
    }

    /// Does everything that is due.
    fn tick(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while self.scheduler.next_tick().is_some_and(|at| at <= self.now) {
            actions.extend(self.scheduler.tick(self.now));
        }
        self.keep_leases(&actions);
        actions
    }

    fn keep_leases(&mut self, actions: &[Action]) {
        for Action::Send(node, message) in actions {
            if let FromServer::Assign { lease: Some(lease), .. } = message {
                self.leases.insert(*node, lease.clone());
            }
        }
    }

    /// Every node that is assigned layers loads them.
    fn load(&mut self, mut actions: Vec<Action>) -> Vec<Action> {
        for Action::Send(node, message) in actions.clone() {
            if let FromServer::Assign { model, lease: Some(lease) } = message {
                let layers = lease.lease.layers;
                let event = Event::Received(ToServer::LayersReady { model, layers });
                actions.extend(self.scheduler.handle(node, event, self.now).unwrap());
            }
        }
        actions
    }

    /// Lets the plan delay pass, and every node load what it is assigned.
    fn plan_and_load(&mut self) -> Vec<Action> {
        self.now += PLAN_DELAY;
        let actions = self.tick();
        self.load(actions)
    }

    fn view(&self) -> SwarmView {
        self.scheduler.view(self.now, usize::MAX)
    }

    fn assigned(&self) -> Vec<(u8, LayerRange)> {
        self.view().nodes.iter().filter_map(|node| Some((node.node.0[0], node.layers?))).collect()
    }

    fn layers_of(&self, node: u8) -> Option<LayerRange> {
        self.assigned().into_iter().find(|(other, _)| *other == node).map(|(_, layers)| layers)
    }

    fn ask(&mut self, node: u8) -> Vec<Action> {
        self.ask_without(node, Vec::new())
    }

    fn ask_without(&mut self, node: u8, exclude: Vec<NodeId>) -> Vec<Action> {
        let (request, model) = (RequestId(1), self.model);
        self.send(node, ToServer::Ask { request, model, exclude, continues: None })
    }

    /// Asks, and ends the session again; the nodes that it went through.
    fn stages(&mut self, node: u8) -> Vec<u8> {
        let session = route(&self.ask(node)).expect("a route");
        self.end(node, session.id, None);
        session.stages.iter().map(|stage| stage.node.0[0]).collect()
    }

    fn end(&mut self, by: u8, session: SessionId, failed_node: Option<NodeId>) -> Vec<Action> {
        let reason = "it does not answer".to_owned();
        self.send(by, ToServer::EndSession { session, reason, failed_node, keeps: false })
    }

    fn share(&self, a: u8, b: u8) -> bool {
        self.scheduler.share_session(id(a), id(b), self.now)
    }
}

fn scheduler(models: Models) -> Scheduler {
    Scheduler::new(Settings {
        models: Arc::new(models),
        authority: authority(),
        plan_delay: PLAN_DELAY,
        same_address_earns: false,
        seed: [1; 32],
    })
}

fn id(node: u8) -> NodeId {
    NodeId([node; 32])
}

fn range(first: u32, end: u32) -> LayerRange {
    LayerRange { first, end }
}

fn route(actions: &[Action]) -> Option<Session> {
    actions.iter().find_map(|Action::Send(_, message)| match message {
        FromServer::Route { session, .. } => Some(session.clone()),
        _ => None,
    })
}

const GIB: u64 = 1 << 30;

#[test]
fn three_equal_nodes_share_the_layers_evenly() {
    let mut world = World::new(6);
    for node in 1..=3 {
        world.register(node, 100, GIB);
    }
    world.plan_and_load();
    assert_eq!(world.assigned(), vec![(1, range(0, 2)), (2, range(2, 4)), (3, range(4, 6))]);
}

#[test]
fn faster_nodes_get_more_layers_and_every_node_gets_some() {
    let mut world = World::new(6);
    world.register(1, 10_000_000, GIB);
    world.register(2, 500_000, GIB);
    world.register(3, 500_000, GIB);
    world.plan_and_load();
    assert_eq!(world.assigned(), vec![(1, range(0, 4)), (2, range(4, 5)), (3, range(5, 6))]);
}

#[test]
fn memory_bounds_the_layers_of_a_node() {
    let mut world = World::new(6);
    world.register(1, 10_000, 3 << 20);
    world.register(2, 1, GIB);
    world.plan_and_load();
    assert_eq!(world.assigned(), vec![(1, range(0, 2)), (2, range(2, 6))]);
}

#[test]
fn a_node_without_room_for_a_layer_is_left_out() {
    let mut world = World::new(6);
    world.register(1, 100, 1 << 10);
    world.register(2, 100, GIB);
    world.plan_and_load();
    assert_eq!(world.assigned(), vec![(2, range(0, 6))]);
}

#[test]
fn more_nodes_than_layers_repeat_ranges() {
    let mut world = World::new(2);
    for node in 1..=5 {
        world.register(node, 100, GIB);
    }
    world.plan_and_load();
    let assigned = world.assigned();
    assert_eq!(assigned.len(), 5);
    assert!(assigned.iter().filter(|(_, layers)| *layers == range(0, 1)).count() >= 2);
    assert!(assigned.iter().filter(|(_, layers)| *layers == range(1, 2)).count() >= 2);
}

#[test]
fn nothing_moves_when_nothing_needs_to() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.register(2, 100, GIB);
    world.plan_and_load();
    // A measured speed that wavers is no reason to move weights.
    world.lend(2, 90, GIB, None);
    world.ready(2, 3, 6);
    world.now += PLAN_DELAY;
    assert_eq!(world.tick(), vec![]);
}

#[test]
fn the_requester_reads_which_layers_are_missing_and_is_routed_when_they_are_ready() {
    let mut world = World::new(6);
    world.join(9);
    let waiting = FromServer::Waiting { request: RequestId(1), missing: vec![range(0, 6)] };
    assert_eq!(world.ask(9), vec![Action::Send(id(9), waiting)]);
    world.register(1, 100, GIB);
    let session = route(&world.plan_and_load()).expect("routed as soon as the layers are ready");
    assert_eq!(session.stages.len(), 1);
    assert_eq!(session.requester, id(9));
}

#[test]
fn stages_learn_of_a_session_before_its_requester_does() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.plan_and_load();
    world.join(9);
    let actions = world.ask(9);
    let [Action::Send(stage, FromServer::Serve { session, ticket }), Action::Send(..)] =
        &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((*stage, ticket.ticket.stage), (id(1), id(1)));
    assert!(ticket.is_from(authority().server()) && ticket.ticket.earns);
    assert_eq!((ticket.ticket.session, ticket.ticket.layers), (session.id, range(0, 6)));
    assert_eq!(route(&actions).as_ref(), Some(session));
}

#[test]
fn a_node_that_leaves_is_named_to_everybody_else_in_the_session() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.register(2, 100, GIB);
    world.plan_and_load();
    world.join(9);
    let session = route(&world.ask(9)).unwrap();
    assert!(world.share(1, 9));
    let actions = world.handle(2, Event::Left);
    for other in [1, 9] {
        let told_why = actions.iter().any(|action| match action {
            Action::Send(node, FromServer::SessionEnded { session: ended, reason, .. }) => {
                *node == id(other)
                    && *ended == session.id
                    && reason.contains("who computed layers 3 to 5, left")
            }
            _ => false,
        });
        assert!(told_why, "node {other}: {actions:?}");
    }
}

#[test]
fn members_of_a_session_may_signal_each_other_a_while_after_it() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.register(2, 100, GIB);
    world.plan_and_load();
    world.join(9);
    route(&world.ask(9)).unwrap();
    world.handle(2, Event::Left);
    // An offer that was on its way when the session ended: the next session may need the same
    // connection.
    assert!(world.share(1, 9) && world.share(1, 2) && !world.share(1, 8));
    world.now += Duration::from_secs(16);
    assert!(!world.share(1, 9));
}

#[test]
fn an_excluded_node_is_left_out_if_others_have_its_layers() {
    let mut world = World::new(2);
    for node in 1..=4 {
        world.register(node, 100, GIB);
    }
    world.plan_and_load();
    world.join(9);
    let again = |world: &mut World, exclude: Vec<NodeId>| {
        let session = route(&world.ask_without(9, exclude)).unwrap();
        session.stages.into_iter().map(|stage| stage.node).collect::<Vec<_>>()
    };
    let first = again(&mut world, Vec::new());
    let second = again(&mut world, vec![first[0]]);
    assert!(second.len() == 2 && !second.contains(&first[0]), "{first:?}, then {second:?}");
    // With every node excluded, an excluded one is better than none.
    let all: Vec<NodeId> = (1..=4).map(id).collect();
    assert_eq!(again(&mut world, all).len(), 2);
}

#[test]
fn nobody_ends_a_session_that_is_not_theirs() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.plan_and_load();
    world.join(8);
    world.join(9);
    let session = route(&world.ask(9)).unwrap().id;
    assert_eq!(world.end(8, session, None), vec![]);
    assert!(world.share(1, 9));
}
