use potluck_protocol::server::NodeKind;
use proptest::prelude::*;

use super::*;
use crate::models::tests::model;

const SETTLE: Duration = Duration::from_millis(300);

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
            scheduler: Scheduler::new(Arc::new(models), SETTLE, [1; 32]),
            model: id,
            layers,
            now: Duration::ZERO,
        }
    }

    fn say(&mut self, node: u8, event: Event) -> Vec<Action> {
        self.scheduler.handle(NodeId([node; 32]), event, self.now).unwrap()
    }

    fn lend(&mut self, node: u8, speed: u64, memory_bytes: u64) {
        self.say(node, Event::Joined);
        let backend = "avx2".to_owned();
        self.say(
            node,
            Event::Register(Capabilities {
                kind: NodeKind::Native,
                backend,
                memory_bytes,
                macs_per_ms: speed,
            }),
        );
    }

    /// Lets the plan settle, and everybody load what they were given.
    fn settle(&mut self) -> Vec<Action> {
        self.now += SETTLE;
        let mut actions = self.scheduler.tick(self.now);
        for action in actions.clone() {
            if let Action::Send(node, FromServer::Assign { model, layers: Some(layers) }) = action {
                let event = Event::LayersReady { model, layers };
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
        self.say(node, Event::Ask { request: RequestId(1), model: self.model, exclude: Vec::new() })
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
fn three_equal_lenders_share_the_layers_evenly() {
    let mut world = World::new(6);
    for node in 1..=3 {
        world.lend(node, 100, GIB);
    }
    world.settle();
    assert_eq!(world.assigned(), vec![(1, range(0, 2)), (2, range(2, 4)), (3, range(4, 6))]);
}

#[test]
fn the_faster_hold_more_and_everybody_holds_something() {
    let mut world = World::new(6);
    world.lend(1, 10_000, GIB);
    world.lend(2, 100, GIB);
    world.lend(3, 100, GIB);
    world.settle();
    assert_eq!(world.assigned(), vec![(1, range(0, 4)), (2, range(4, 5)), (3, range(5, 6))]);
}

#[test]
fn memory_bounds_what_a_lender_holds() {
    let mut world = World::new(6);
    world.lend(1, 10_000, 3 << 20);
    world.lend(2, 1, GIB);
    world.settle();
    assert_eq!(world.assigned(), vec![(1, range(0, 2)), (2, range(2, 6))]);
}

#[test]
fn a_lender_without_room_for_a_layer_is_left_out() {
    let mut world = World::new(6);
    world.lend(1, 100, 1 << 10);
    world.lend(2, 100, GIB);
    world.settle();
    assert_eq!(world.assigned(), vec![(2, range(0, 6))]);
}

#[test]
fn more_lenders_than_layers_repeat_ranges() {
    let mut world = World::new(2);
    for node in 1..=5 {
        world.lend(node, 100, GIB);
    }
    world.settle();
    let held = world.assigned();
    assert_eq!(held.len(), 5);
    assert!(held.iter().filter(|(_, layers)| *layers == range(0, 1)).count() >= 2);
    assert!(held.iter().filter(|(_, layers)| *layers == range(1, 2)).count() >= 2);
}

#[test]
fn nothing_moves_when_nothing_needs_to() {
    let mut world = World::new(6);
    world.lend(1, 100, GIB);
    world.lend(2, 100, GIB);
    world.settle();
    // A measured speed that wavers is no reason to move weights.
    let backend = "avx2".to_owned();
    world.say(
        2,
        Event::Register(Capabilities {
            kind: NodeKind::Native,
            backend,
            memory_bytes: GIB,
            macs_per_ms: 90,
        }),
    );
    world.say(2, Event::LayersReady { model: world.model, layers: range(3, 6) });
    world.now += SETTLE;
    assert_eq!(world.scheduler.tick(world.now), vec![]);
}

#[test]
fn a_restarted_server_takes_nodes_back_as_they_are() {
    let mut world = World::new(6);
    for (node, layers) in [(1, range(4, 6)), (2, range(0, 2)), (3, range(2, 4))] {
        world.lend(node, 100, GIB);
        world.say(node, Event::LayersReady { model: world.model, layers });
    }
    world.now += SETTLE;
    assert_eq!(world.scheduler.tick(world.now), vec![]);
    world.say(9, Event::Joined);
    assert!(route(&world.ask(9)).is_some());
}

#[test]
fn the_asker_reads_what_is_missing_and_is_routed_when_it_is_there() {
    let mut world = World::new(6);
    world.say(9, Event::Joined);
    let waiting = FromServer::Waiting { request: RequestId(1), missing: vec![range(0, 6)] };
    assert_eq!(world.ask(9), vec![Action::Send(NodeId([9; 32]), waiting)]);
    world.lend(1, 100, GIB);
    let session = route(&world.settle()).expect("routed as soon as the layers are held");
    assert_eq!(session.stages.len(), 1);
    assert_eq!(session.requester, NodeId([9; 32]));
}

#[test]
fn a_session_is_kept_before_anyone_hears_of_it() {
    let mut world = World::new(6);
    world.lend(1, 100, GIB);
    world.settle();
    world.say(9, Event::Joined);
    let actions = world.ask(9);
    assert!(matches!(actions[0], Action::Open(_)));
    assert!(matches!(actions[1], Action::Send(_, FromServer::Serve { .. })));
    assert!(matches!(actions[2], Action::Send(_, FromServer::Route { .. })));
}

#[test]
fn a_lender_who_leaves_is_named_to_everybody_else_in_the_session() {
    let mut world = World::new(6);
    world.lend(1, 100, GIB);
    world.lend(2, 100, GIB);
    world.settle();
    world.say(9, Event::Joined);
    let session = route(&world.ask(9)).unwrap();
    assert!(world.scheduler.share_session(NodeId([1; 32]), NodeId([9; 32])));
    let actions = world.say(2, Event::Left);
    for told in [1, 9] {
        let heard = actions.iter().any(|action| match action {
            Action::Send(node, FromServer::SessionEnded { session: id, reason, .. }) => {
                *node == NodeId([told; 32])
                    && *id == session.id
                    && reason.contains("who computed layers 3 to 5, left")
            }
            _ => false,
        });
        assert!(heard, "node {told}: {actions:?}");
    }
    assert!(!world.scheduler.share_session(NodeId([1; 32]), NodeId([9; 32])));
}

#[test]
fn whom_an_answer_broke_off_at_is_left_out_if_others_hold_its_layers() {
    let mut world = World::new(2);
    for node in 1..=4 {
        world.lend(node, 100, GIB);
    }
    world.settle();
    world.say(9, Event::Joined);
    let again = |world: &mut World, exclude: Vec<NodeId>| {
        let actions =
            world.say(9, Event::Ask { request: RequestId(1), model: world.model, exclude });
        route(&actions).unwrap().stages.into_iter().map(|stage| stage.node).collect::<Vec<_>>()
    };
    let first = again(&mut world, Vec::new());
    let second = again(&mut world, vec![first[0]]);
    assert!(second.len() == 2 && !second.contains(&first[0]), "{first:?}, then {second:?}");
    // Nobody else is left for its layers: better it than nobody.
    let holders: Vec<NodeId> = (1..=4).map(|node| NodeId([node; 32])).collect();
    assert_eq!(again(&mut world, holders).len(), 2);
}

#[test]
fn whom_others_broke_off_at_is_asked_last_for_a_minute() {
    let mut world = World::new(1);
    world.lend(1, 100, GIB);
    world.lend(2, 100, GIB);
    world.settle();
    world.say(8, Event::Joined);
    world.say(9, Event::Joined);
    let first = route(&world.ask(9)).unwrap();
    let failed_node = first.stages[0].node;
    let ended = |by: u8, world: &mut World, session, failed_node| {
        let reason = "it does not answer".to_owned();
        world.say(by, Event::EndSession { session, reason, failed_node: Some(failed_node) });
    };
    ended(9, &mut world, first.id, failed_node);
    for _ in 0..3 {
        let session = route(&world.ask(8)).unwrap();
        assert_ne!(session.stages[0].node, failed_node);
    }
    world.now += Duration::from_secs(61);
    let session = route(&world.ask(8)).unwrap();
    assert_eq!(session.stages[0].node, failed_node, "it has the fewest sessions");
    // Who is in no session with it is not believed.
    ended(9, &mut world, session.id, failed_node);
    ended(8, &mut world, session.id, NodeId([77; 32]));
    assert_eq!(route(&world.ask(8)).unwrap().stages[0].node, failed_node);
}

#[test]
fn nobody_ends_a_session_that_is_not_theirs() {
    let mut world = World::new(6);
    world.lend(1, 100, GIB);
    world.settle();
    world.say(8, Event::Joined);
    world.say(9, Event::Joined);
    let session = route(&world.ask(9)).unwrap().id;
    assert_eq!(
        world.say(8, Event::EndSession { session, reason: "mine".to_owned(), failed_node: None }),
        vec![]
    );
    assert!(world.scheduler.share_session(NodeId([1; 32]), NodeId([9; 32])));
}

#[test]
fn questions_have_a_bound() {
    let mut world = World::new(6);
    world.say(9, Event::Joined);
    for request in 0..8 {
        world.say(
            9,
            Event::Ask { request: RequestId(request), model: world.model, exclude: Vec::new() },
        );
    }
    let more = Event::Ask { request: RequestId(8), model: world.model, exclude: Vec::new() };
    assert_eq!(
        world.scheduler.handle(NodeId([9; 32]), more, world.now),
        Err(Fault::TooManyRequests)
    );
    let unknown =
        Event::Ask { request: RequestId(9), model: ModelId([0xee; 32]), exclude: Vec::new() };
    assert_eq!(
        world.scheduler.handle(NodeId([9; 32]), unknown, world.now),
        Err(Fault::UnknownModel)
    );
}

#[derive(Clone, Debug)]
enum Step {
    Lend(u8, u64, u64),
    Leave(u8),
    Stop(u8),
    Hold(u8, u32, u32),
    Ask(u8),
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..12, 0_u64..5_000, 0_u64..20).prop_map(|(node, speed, mib)| Step::Lend(
            node,
            speed,
            mib << 20
        )),
        (0_u8..12).prop_map(Step::Leave),
        (0_u8..12).prop_map(Step::Stop),
        (0_u8..12, 0_u32..8, 1_u32..8).prop_map(|(node, first, len)| Step::Hold(node, first, len)),
        (0_u8..12).prop_map(Step::Ask),
        Just(Step::Settle),
    ]
}

proptest! {
    #[test]
    fn routes_have_no_gap_and_go_only_where_layers_are_held(
        layers in 1_u32..9,
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new(layers);
        for step in steps {
            let node = |n| NodeId([n; 32]);
            let actions = match step {
                Step::Lend(n, speed, memory) => { world.lend(n, speed, memory); Vec::new() }
                Step::Leave(n) => world.say(n, Event::Left),
                Step::Stop(n) => world.say(n, Event::Deregister),
                Step::Hold(n, first, len) => {
                    let event = Event::LayersReady { model: world.model, layers: range(first, first + len) };
                    world.scheduler.handle(node(n), event, world.now).unwrap_or_default()
                }
                Step::Ask(n) => { world.say(n, Event::Joined); world.ask(n) }
                Step::Settle => world.settle(),
            };
            for action in actions {
                let Action::Open(session) = action else { continue };
                let mut next = 0;
                for stage in &session.stages {
                    prop_assert_eq!(stage.layers.first, next);
                    prop_assert!(!stage.layers.is_empty());
                    next = stage.layers.end;
                    let held = world.scheduler.nodes.get(&stage.node).and_then(|n| n.registration.as_ref()).and_then(|l| l.holding);
                    prop_assert!(held.is_some_and(|held| held.first <= stage.layers.first && stage.layers.end <= held.end));
                }
                prop_assert_eq!(next, world.layers);
            }
        }
    }

    #[test]
    fn enough_memory_means_every_layer_has_a_place(
        layers in 1_u32..40,
        nodes in proptest::collection::vec((0_u64..10_000, 0_u64..50), 1..30),
    ) {
        let info = model(layers);
        let mut world = World::new(layers);
        for (node, (speed, mib)) in nodes.iter().enumerate() {
            world.lend(u8::try_from(node).unwrap(), *speed, *mib << 20);
        }
        world.settle();
        let held = world.assigned();
        let room = |mib: &u64| ((*mib << 20).saturating_sub(info.embedding_bytes + info.head_bytes + info.tables_bytes)) >> 20;
        let capacity: u64 = nodes.iter().take(layers as usize).map(|(_, mib)| room(mib)).sum();
        for (node, layers) in &held {
            prop_assert!(placement::bytes(&info, *layers) <= nodes[usize::from(*node)].1 << 20);
        }
        if capacity >= u64::from(layers) {
            for layer in 0..layers {
                prop_assert!(held.iter().any(|(_, range)| range.indices().contains(&layer)), "layer {} of {:?}", layer, held);
            }
        }
    }
}
