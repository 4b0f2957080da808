//! Nodes that are throttled, and nodes that pause: planned as what they are, and missed by nobody.

use super::*;
use crate::scheduler::seats::SEAT_KEPT;

fn pace(world: &mut World, node: u8, percent: u8) -> Vec<Action> {
    world.send(node, ToServer::Pace { percent })
}

/// Whom a session is over for, with the node that it went wrong at.
fn told_of_end(actions: &[Action]) -> Vec<(u8, Option<u8>)> {
    let told = |Action::Send(node, message): &Action| match message {
        FromServer::SessionEnded { failed_node, .. } => {
            Some((node.0[0], failed_node.map(|failed| failed.0[0])))
        }
        _ => None,
    };
    actions.iter().filter_map(told).collect()
}

#[test]
fn a_throttled_node_is_given_the_layers_of_a_slower_one() {
    let mut world = World::new(9);
    for node in 1..=2 {
        world.register(node, 40_000_000, GIB);
        pace(&mut world, node, if node == 1 { 20 } else { 40 });
    }
    world.plan_and_load();
    assert_eq!(world.assigned(), [(1, range(0, 3)), (2, range(3, 9))]);
    // All of one's speed again: by then it is worth the move.
    pace(&mut world, 1, 100);
    world.plan_and_load();
    assert_eq!(world.assigned(), [(1, range(0, 7)), (2, range(7, 9))]);
}

#[test]
fn nothing_is_routed_through_a_paused_node_and_its_sessions_go_on_elsewhere() {
    let mut world = World::new(6);
    for node in 1..=2 {
        world.register(node, 100, GIB);
    }
    world.plan_and_load();
    world.join(9);
    let session = route(&world.ask(9)).unwrap();
    let actions = pace(&mut world, 2, 0);
    assert_eq!(told_of_end(&actions), [(1, Some(2)), (9, Some(2))]);
    assert!(world.end(9, session.id, None).is_empty(), "it is over already");
    let waiting = FromServer::Waiting { request: RequestId(1), missing: vec![range(3, 6)] };
    assert_eq!(world.ask(9), [Action::Send(id(9), waiting)]);
    let view = world.view();
    let states: Vec<_> = view.nodes.iter().map(|node| (node.serving, node.paused)).collect();
    assert_eq!(states, [(true, false), (false, true)]);
    assert_eq!((view.totals.serving, view.totals.fetching, view.totals.waiting), (1, 0, 1));
    assert_eq!(view.copies, [1, 1, 1, 0, 0, 0]);
    // It comes back, with all it had: whoever waits is routed at once.
    let session = route(&pace(&mut world, 2, 100)).expect("a route");
    assert_eq!(session.stages.len(), 2);
    assert_eq!(world.view().copies, [1; 6]);
}

#[test]
fn a_pause_moves_nothing_for_a_while_and_then_others_have_the_layers() {
    let mut world = World::new(6);
    for node in 1..=3 {
        world.register(node, 100, GIB);
    }
    world.plan_and_load();
    let before = world.assigned();
    pace(&mut world, 2, 0);
    world.now += SEAT_KEPT - Duration::from_millis(1);
    assert_eq!(world.tick(), []);
    assert_eq!(world.assigned(), before);
    // Back in time, and gone again: the while begins anew.
    pace(&mut world, 2, 100);
    pace(&mut world, 2, 0);
    pace(&mut world, 2, 0);
    world.now += SEAT_KEPT - Duration::from_millis(1);
    assert_eq!(world.tick(), []);
    world.now += Duration::from_millis(1);
    world.tick();
    world.plan_and_load();
    assert_eq!(world.assigned(), [(1, range(0, 3)), (3, range(3, 6))]);
    let lapsed = world.view().nodes[1].clone();
    assert!(lapsed.paused && lapsed.layers.is_none(), "{lapsed:?}");
    // Late, it is given layers as anybody who comes.
    pace(&mut world, 2, 100);
    world.plan_and_load();
    assert_eq!(world.assigned().len(), 3);
    assert_eq!(world.view().copies, [1; 6]);
}

#[test]
fn who_lends_and_pauses_at_once_is_routed_through_when_it_is_back() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    pace(&mut world, 1, 0);
    world.plan_and_load();
    world.join(9);
    assert_eq!(route(&world.ask(9)), None);
    assert!(route(&pace(&mut world, 1, 30)).is_some());
}

#[test]
fn a_paused_node_that_leaves_leaves_nothing_behind() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.plan_and_load();
    pace(&mut world, 1, 0);
    world.handle(1, Event::Left);
    world.now += PLAN_DELAY;
    world.tick();
    assert_eq!(world.scheduler.next_tick(), None);
    // Nor does one that does not lend, or is not there.
    world.join(2);
    pace(&mut world, 2, 0);
    world.send(3, ToServer::Pace { percent: 0 });
    assert_eq!(world.scheduler.next_tick(), None);
}
