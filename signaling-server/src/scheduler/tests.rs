mod bounds;
mod properties;

use potluck_protocol::id::RequestId;
use potluck_protocol::server::{Capabilities, NodeKind};

use super::*;
use crate::authority::tests::authority;
use crate::models::tests::model;

const PLAN_DELAY: Duration = Duration::from_millis(300);

struct World {
    scheduler: Scheduler,
    model: ModelId,
    layers: u32,
    now: Duration,
}

impl World {
    fn new(layers: u32) -> Self {
        let info = model(layers);
        let id = info.id;
        let mut models = Models::default();
        models.add(info);
        Self {
            scheduler: Scheduler::new(Arc::new(models), authority(), PLAN_DELAY, [1; 32]),
            model: id,
            layers,
            now: Duration::ZERO,
        }
    }

    fn send(&mut self, node: u8, message: ToServer) -> Vec<Action> {
        self.handle(node, Event::Received(message))
    }

    fn handle(&mut self, node: u8, event: Event) -> Vec<Action> {
        self.scheduler.handle(NodeId([node; 32]), event, self.now).unwrap()
    }

    fn register(&mut self, node: u8, speed: u64, memory_bytes: u64) {
        self.handle(node, Event::Joined);
        let backend = "avx2".to_owned();
        self.send(
            node,
            ToServer::Register {
                capabilities: Capabilities {
                    kind: NodeKind::Native,
                    backend,
                    memory_bytes,
                    macs_per_ms: speed,
                },
                lease: None,
            },
        );
    }

    /// Lets the plan delay pass, and every node load what it is assigned.
    fn plan_and_load(&mut self) -> Vec<Action> {
        self.now += PLAN_DELAY;
        let mut actions = self.scheduler.tick(self.now);
        for action in actions.clone() {
            if let Action::Send(node, FromServer::Assign { model, lease: Some(signed) }) = action {
                let layers = signed.lease.layers;
                let event = Event::Received(ToServer::LayersReady { model, layers });
                actions.extend(self.scheduler.handle(node, event, self.now).unwrap());
            }
        }
        actions
    }

    fn assigned(&self) -> Vec<(u8, LayerRange)> {
        let view = self.scheduler.view(self.now);
        view.nodes.iter().filter_map(|node| Some((node.node.0[0], node.layers?))).collect()
    }

    fn ask(&mut self, node: u8) -> Vec<Action> {
        self.send(
            node,
            ToServer::Ask { request: RequestId(1), model: self.model, exclude: Vec::new() },
        )
    }
}

fn range(first: u32, end: u32) -> LayerRange {
    LayerRange { first, end }
}

fn route(actions: &[Action]) -> Option<Session> {
    actions.iter().find_map(|action| match action {
        Action::Send(_, FromServer::Route { session, .. }) => Some(session.clone()),
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
    world.register(1, 10_000, GIB);
    world.register(2, 100, GIB);
    world.register(3, 100, GIB);
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
    let backend = "avx2".to_owned();
    world.send(
        2,
        ToServer::Register {
            capabilities: Capabilities {
                kind: NodeKind::Native,
                backend,
                memory_bytes: GIB,
                macs_per_ms: 90,
            },
            lease: None,
        },
    );
    world.send(2, ToServer::LayersReady { model: world.model, layers: range(3, 6) });
    world.now += PLAN_DELAY;
    assert_eq!(world.scheduler.tick(world.now), vec![]);
}

#[test]
fn a_restarted_server_takes_nodes_back_as_they_are() {
    let mut world = World::new(6);
    for (node, layers) in [(1, range(4, 6)), (2, range(0, 2)), (3, range(2, 4))] {
        world.register(node, 100, GIB);
        world.send(node, ToServer::LayersReady { model: world.model, layers });
    }
    world.now += PLAN_DELAY;
    assert_eq!(world.scheduler.tick(world.now), vec![]);
    world.handle(9, Event::Joined);
    assert!(route(&world.ask(9)).is_some());
}

#[test]
fn the_requester_reads_which_layers_are_missing_and_is_routed_when_they_are_ready() {
    let mut world = World::new(6);
    world.handle(9, Event::Joined);
    let waiting = FromServer::Waiting { request: RequestId(1), missing: vec![range(0, 6)] };
    assert_eq!(world.ask(9), vec![Action::Send(NodeId([9; 32]), waiting)]);
    world.register(1, 100, GIB);
    let session = route(&world.plan_and_load()).expect("routed as soon as the layers are ready");
    assert_eq!(session.stages.len(), 1);
    assert_eq!(session.requester, NodeId([9; 32]));
}

#[test]
fn a_session_is_kept_before_it_is_sent_to_anyone() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.plan_and_load();
    world.handle(9, Event::Joined);
    let actions = world.ask(9);
    assert!(matches!(actions[0], Action::Open(_)));
    assert!(matches!(actions[1], Action::Send(_, FromServer::Serve { .. })));
    assert!(matches!(actions[2], Action::Send(_, FromServer::Route { .. })));
}

#[test]
fn a_node_that_leaves_is_named_to_everybody_else_in_the_session() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.register(2, 100, GIB);
    world.plan_and_load();
    world.handle(9, Event::Joined);
    let session = route(&world.ask(9)).unwrap();
    assert!(world.scheduler.share_session(NodeId([1; 32]), NodeId([9; 32]), world.now));
    let actions = world.handle(2, Event::Left);
    for other in [1, 9] {
        let told_why = actions.iter().any(|action| match action {
            Action::Send(node, FromServer::SessionEnded { session: id, reason, .. }) => {
                *node == NodeId([other; 32])
                    && *id == session.id
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
    world.handle(9, Event::Joined);
    route(&world.ask(9)).unwrap();
    world.handle(2, Event::Left);
    let share = |world: &World, a, b| {
        world.scheduler.share_session(NodeId([a; 32]), NodeId([b; 32]), world.now)
    };
    // An offer that was on its way when the session ended: the next session may need the same
    // connection.
    assert!(share(&world, 1, 9) && !share(&world, 1, 8));
    world.now += Duration::from_secs(16);
    assert!(!share(&world, 1, 9));
}

#[test]
fn an_excluded_node_is_left_out_if_others_have_its_layers() {
    let mut world = World::new(2);
    for node in 1..=4 {
        world.register(node, 100, GIB);
    }
    world.plan_and_load();
    world.handle(9, Event::Joined);
    let again = |world: &mut World, exclude: Vec<NodeId>| {
        let actions =
            world.send(9, ToServer::Ask { request: RequestId(1), model: world.model, exclude });
        route(&actions).unwrap().stages.into_iter().map(|stage| stage.node).collect::<Vec<_>>()
    };
    let first = again(&mut world, Vec::new());
    let second = again(&mut world, vec![first[0]]);
    assert!(second.len() == 2 && !second.contains(&first[0]), "{first:?}, then {second:?}");
    // With every node excluded, an excluded one is better than none.
    let all: Vec<NodeId> = (1..=4).map(|node| NodeId([node; 32])).collect();
    assert_eq!(again(&mut world, all).len(), 2);
}

#[test]
fn a_node_that_sessions_failed_at_is_used_last_for_a_minute() {
    let mut world = World::new(1);
    world.register(1, 100, GIB);
    world.register(2, 100, GIB);
    world.plan_and_load();
    world.handle(8, Event::Joined);
    world.handle(9, Event::Joined);
    let first = route(&world.ask(9)).unwrap();
    let failed_node = first.stages[0].node;
    let ended = |by: u8, world: &mut World, session, failed_node| {
        let reason = "it does not answer".to_owned();
        world.send(by, ToServer::EndSession { session, reason, failed_node: Some(failed_node) });
    };
    ended(9, &mut world, first.id, failed_node);
    for _ in 0..3 {
        let session = route(&world.ask(8)).unwrap();
        assert_ne!(session.stages[0].node, failed_node);
    }
    world.now += Duration::from_secs(61);
    let session = route(&world.ask(8)).unwrap();
    assert_eq!(session.stages[0].node, failed_node, "it has the fewest sessions");
    // Only members of a session that is open are believed, and only about its stages.
    ended(9, &mut world, session.id, failed_node);
    ended(8, &mut world, session.id, NodeId([77; 32]));
    assert_eq!(route(&world.ask(8)).unwrap().stages[0].node, failed_node);
}

#[test]
fn nobody_ends_a_session_that_is_not_theirs() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.plan_and_load();
    world.handle(8, Event::Joined);
    world.handle(9, Event::Joined);
    let session = route(&world.ask(9)).unwrap().id;
    assert_eq!(
        world.send(
            8,
            ToServer::EndSession { session, reason: "mine".to_owned(), failed_node: None }
        ),
        vec![]
    );
    assert!(world.scheduler.share_session(NodeId([1; 32]), NodeId([9; 32]), world.now));
}
