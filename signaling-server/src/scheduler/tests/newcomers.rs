//! A newcomer's share grows with the work that it has done.

use super::*;
use crate::scheduler::standing::{ESTABLISHED_MACS, NEWCOMERS_WEIGHT};

/// Who is assigned what, with so many established nodes and so many newcomers.
fn placed(layers: u32, established: u8, newcomers: u8) -> (World, Vec<(u8, LayerRange)>) {
    let mut world = World::new(layers);
    // Newcomers come first: the order does not matter.
    for node in 0..newcomers {
        world.register_as(100 + node, 0);
    }
    for node in 1..=established {
        world.register_as(node, ESTABLISHED_MACS);
    }
    world.plan_and_load();
    let assigned = world.assigned();
    (world, assigned)
}

fn is_newcomer(node: u8) -> bool {
    node >= 100
}

#[test]
fn newcomers_are_second_copies_between_the_ends() {
    for (layers, established, newcomers) in
        [(6, 3, 1), (6, 3, 4), (6, 5, 2), (6, 6, 3), (6, 20, 9), (32, 4, 40)]
    {
        let (_, assigned) = placed(layers, established, newcomers);
        assert_eq!(assigned.len(), usize::from(established + newcomers));
        for (node, held) in assigned.iter().filter(|(node, _)| is_newcomer(*node)) {
            assert!(held.first > 0 && held.end < layers, "node {node}: {held}");
            for layer in held.indices() {
                let other = assigned.iter().any(|(other, layers)| {
                    !is_newcomer(*other) && layers.indices().contains(&layer)
                });
                assert!(other, "nobody established has layer {layer}: {assigned:?}");
            }
        }
    }
}

#[test]
fn where_nobody_else_is_there_newcomers_are_used_everywhere() {
    for established in [0, 1] {
        let (_, assigned) = placed(6, established, 3 - established);
        let mut held: Vec<LayerRange> = assigned.iter().map(|(_, layers)| *layers).collect();
        held.sort_unstable();
        assert_eq!(held, [range(0, 2), range(2, 4), range(4, 6)]);
    }
}

#[test]
fn two_established_nodes_hold_the_ends_and_a_newcomer_what_is_between() {
    let (_, assigned) = placed(6, 2, 1);
    assert_eq!(assigned, [(1, range(0, 2)), (2, range(4, 6)), (100, range(2, 4))]);
}

#[test]
fn newcomers_make_good_for_memory_that_the_others_lack() {
    let mut world = World::new(6);
    for node in 1..=3 {
        world.join_as(node, ESTABLISHED_MACS, None);
        // Room for one layer.
        world.lend(node, 1_000_000, 2 << 20, None);
    }
    for node in 100..104 {
        world.register_as(node, 0);
    }
    world.plan_and_load();
    world.join(9);
    assert!(route(&world.ask(9)).is_some());
    for (node, held) in world.assigned().into_iter().filter(|(node, _)| is_newcomer(*node)) {
        assert!(held.first > 0 && held.end < 6, "node {node}: {held}");
    }
}

#[test]
fn work_makes_a_newcomer_a_node_like_others() {
    let (mut world, _) = placed(6, 3, 1);
    let before = world.layers_of(100).unwrap();
    let session = SessionId([0; 16]);
    world.handle(100, Event::Worked { session, macs: ESTABLISHED_MACS - 1 });
    assert_eq!(world.scheduler.next_plan(), None);
    world.handle(100, Event::Worked { session, macs: 1 });
    world.plan_and_load();
    let assigned = world.assigned();
    let copies = assigned.iter().filter(|(_, held)| *held == before).count();
    assert!(copies <= 1, "four nodes, four parts: {assigned:?}");
}

#[test]
fn a_newcomers_copy_gets_the_smaller_share_of_the_sessions() {
    let (mut world, _) = placed(6, 3, 1);
    let open = |world: &mut World, asked: u8| {
        for requester in 0..asked {
            world.join(200 + requester);
            route(&world.ask(200 + requester)).unwrap();
        }
        let of_newcomer =
            world.view().nodes.iter().find(|node| node.node == id(100)).unwrap().sessions;
        let requesters: Vec<u8> = (0..asked).map(|requester| 200 + requester).collect();
        for requester in requesters {
            world.handle(requester, Event::Left);
        }
        of_newcomer
    };
    let weight = usize::try_from(NEWCOMERS_WEIGHT).unwrap();
    assert_eq!(open(&mut world, 45), 45 / (weight + 1));
    // Half of the work, and half the weight.
    let session = SessionId([0; 16]);
    world.handle(100, Event::Worked { session, macs: ESTABLISHED_MACS / 2 });
    assert_eq!(open(&mut world, 45), 45 / (weight / 2 + 1));
    world.handle(100, Event::Worked { session, macs: ESTABLISHED_MACS / 2 });
    assert!(open(&mut world, 45) >= 22);
}
