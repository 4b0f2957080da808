//! What holds after any sequence of events.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Register(u8, u64, u64),
    Leave(u8),
    Deregister(u8),
    Ready(u8, u32, u32),
    Pace(u8, u8),
    Ask(u8),
    Plan,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..12, 0_u64..20_000_000, 0_u64..20).prop_map(|(node, speed, mib)| Step::Register(
            node,
            speed,
            mib << 20
        )),
        (0_u8..12).prop_map(Step::Leave),
        (0_u8..12).prop_map(Step::Deregister),
        (0_u8..12, 0_u32..8, 1_u32..8).prop_map(|(node, first, len)| Step::Ready(node, first, len)),
        (0_u8..12, 0_u8..3).prop_map(|(node, third)| Step::Pace(node, 50 * third)),
        (0_u8..12).prop_map(Step::Ask),
        Just(Step::Plan),
    ]
}

proptest! {
    #[test]
    fn routes_have_no_gap_and_go_only_where_layers_are_ready(
        layers in 1_u32..9,
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new(layers);
        for step in steps {
            let node = |n| NodeId([n; 32]);
            let actions = match step {
                Step::Register(n, speed, memory) => {
                    world.register(n, speed, memory);
                    Vec::new()
                }
                Step::Leave(n) => world.handle(n, Event::Left),
                Step::Deregister(n) => world.send(n, ToServer::Deregister),
                Step::Pace(n, percent) => world.send(n, ToServer::Pace { percent }),
                Step::Ready(n, first, len) => {
                    let layers = range(first, first + len);
                    let message = ToServer::LayersReady { model: world.model, layers };
                    let event = Event::Received(message);
                    world.scheduler.handle(node(n), event, world.now).unwrap_or_default()
                }
                Step::Ask(n) => {
                    if !world.scheduler.nodes.contains_key(&node(n)) {
                        world.join(n);
                    }
                    world.ask(n)
                }
                Step::Plan => world.plan_and_load(),
            };
            for action in actions {
                let Action::Send(_, FromServer::Route { session, .. }) = action else { continue };
                let mut next = 0;
                for stage in &session.stages {
                    prop_assert_eq!(stage.layers.first, next);
                    prop_assert!(!stage.layers.is_empty());
                    next = stage.layers.end;
                    let registration = world.scheduler.nodes[&stage.node].registration.as_ref();
                    let ready = registration.and_then(|registration| registration.ready);
                    let covers = |ready: LayerRange| {
                        ready.first <= stage.layers.first && stage.layers.end <= ready.end
                    };
                    prop_assert!(ready.is_some_and(covers));
                    prop_assert!(registration.is_some_and(|known| !known.is_paused()));
                }
                prop_assert_eq!(next, world.layers);
            }
        }
    }

    #[test]
    fn enough_memory_means_every_layer_is_assigned(
        layers in 1_u32..40,
        nodes in proptest::collection::vec((0_u64..20_000_000, 0_u64..50), 1..30),
    ) {
        let info = model(layers);
        let mut world = World::new(layers);
        for (node, (speed, mib)) in nodes.iter().enumerate() {
            world.register(u8::try_from(node).unwrap(), *speed, *mib << 20);
        }
        world.plan_and_load();
        let assigned = world.assigned();
        let ends = info.embedding_bytes + info.head_bytes + info.tables_bytes;
        let room = |mib: &u64| (*mib << 20).saturating_sub(ends) >> 20;
        let capacity: u64 = nodes.iter().take(layers as usize).map(|(_, mib)| room(mib)).sum();
        for (node, layers) in &assigned {
            prop_assert!(placement::bytes(&info, *layers) <= nodes[usize::from(*node)].1 << 20);
        }
        if capacity >= u64::from(layers) {
            for layer in 0..layers {
                let has = |(_, range): &(u8, LayerRange)| range.indices().contains(&layer);
                prop_assert!(assigned.iter().any(has), "layer {} of {:?}", layer, assigned);
            }
        }
    }
}
