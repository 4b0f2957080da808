//! What a node says of itself is checked, bounded or without effect on others.

use potluck_protocol::identity::Identity;
use potluck_protocol::lease::Lease;

use super::*;
use crate::authority::LEASE;

/// Reproduced before claims were checked: eight of eight routes went through the one node that said
/// it had everything, and the other was never given a layer.
#[test]
fn a_node_that_claims_everything_gets_no_more_than_its_share() {
    let mut world = World::new(6);
    world.join(9);
    world.register(1, u64::MAX, u64::MAX);
    assert_eq!(world.ready(1, 0, 6), vec![]);
    world.register(2, 4_000_000, GIB);
    // Node 1 keeps things from settling, as far as it can.
    let mut actions = Vec::new();
    for turn in 0..15 {
        world.now += Duration::from_millis(200);
        world.lend(1, u64::MAX - turn, u64::MAX, None);
        world.ready(1, 0, 6);
        actions.extend(world.tick());
    }
    world.load(actions);
    let of_2 = world.layers_of(2).expect("the other node has its part");
    assert!(!of_2.is_empty(), "{of_2}");
    for _ in 0..8 {
        let session = route(&world.ask(9)).expect("a route");
        assert!(session.stages.iter().any(|stage| stage.node == id(2)), "{session:?}");
        world.end(9, session.id, None);
    }
}

#[test]
fn layers_that_were_not_assigned_do_not_count() {
    let mut world = World::new(6);
    world.join(9);
    world.register(1, 100, GIB);
    assert_eq!(world.ready(1, 0, 6), vec![]);
    assert_eq!(route(&world.ask(9)), None);
    assert_eq!(world.view().copies, vec![0; 6]);
    world.register(2, 100, GIB);
    world.now += PLAN_DELAY;
    world.tick();
    // What it said before the assignment still does not count, and more than that never does.
    assert_eq!(route(&world.ask(9)), None);
    world.ready(2, 3, 6);
    let session = route(&world.ready(1, 0, 6)).expect("a route");
    assert_eq!(session.stages[0].layers, range(0, 3));
}

#[test]
fn what_was_said_before_changes_nothing() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.register(2, 100, GIB);
    world.plan_and_load();
    let before = world.view();
    assert_eq!(world.lend(1, 100, GIB, None), vec![]);
    assert_eq!(world.ready(1, 0, 3), vec![]);
    assert_eq!(world.scheduler.next_plan(), None);
    assert_eq!(world.view(), before);
}

#[test]
fn settling_has_a_bound() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    let mut planned = None;
    for turn in 1..=20 {
        world.now += Duration::from_millis(200);
        if !world.tick().is_empty() {
            planned = planned.or(Some(world.now));
        }
        world.lend(1, 100, GIB - turn, None);
    }
    assert_eq!(planned, Some(Duration::from_secs(2)));
    // Where it is quiet, the delay is short.
    world.now += Duration::from_secs(5);
    world.tick();
    world.register(2, 100, GIB);
    assert_eq!(world.scheduler.next_plan(), Some(world.now + PLAN_DELAY));
}

/// Lends and says that all its layers are ready; what it is assigned then.
fn come_back(world: &mut World, node: u8, lease: Option<SignedLease>) -> Option<LayerRange> {
    world.join(node);
    world.lend(node, 100, GIB, lease);
    world.ready(node, 0, 6);
    world.layers_of(node)
}

#[test]
fn a_lease_outlives_the_server() {
    let mut world = World::new(6);
    for node in 1..=3 {
        world.register(node, 100, GIB);
    }
    world.plan_and_load();
    let before = world.assigned();
    world.restart();
    world.now += Duration::from_secs(7);
    for (node, layers) in &before {
        let lease = world.leases[&id(*node)].clone();
        assert_eq!(come_back(&mut world, *node, Some(lease)), Some(*layers));
    }
    world.join(9);
    assert!(route(&world.ask(9)).is_some(), "at once");
    world.now += PLAN_DELAY;
    assert_eq!(world.tick(), vec![], "and nothing moves");
    assert_eq!(world.assigned(), before);
}

#[test]
fn a_lease_that_is_not_this_nodes_own_is_none() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.plan_and_load();
    let good = world.leases[&id(1)].clone();
    let signed = |change: fn(&mut Lease)| {
        let mut lease = good.lease.clone();
        change(&mut lease);
        SignedLease::new(&Identity::from_seed(&[0xa0; 32]), lease)
    };
    let mut forged = good.clone();
    forged.lease.until_s += 1;
    let by_another = SignedLease::new(&Identity::from_seed(&[0xa1; 32]), good.lease.clone());
    let cases = [
        ("changed", forged),
        ("signed by another server", by_another),
        ("of another model", signed(|lease| lease.model = ModelId([0xee; 32]))),
        ("of too many layers", signed(|lease| lease.layers.end = 7)),
        ("of no layer", signed(|lease| lease.layers.end = lease.layers.first)),
        ("that has ended", signed(|lease| lease.until_s -= 24 * 3600)),
        ("of another node", signed(|lease| lease.node = id(2))),
    ];
    for (what, lease) in cases {
        world.restart();
        assert_eq!(come_back(&mut world, 1, Some(lease)), None, "a lease {what}");
        assert_eq!(world.view().totals.serving, 0, "a lease {what}");
    }
    world.restart();
    assert_eq!(come_back(&mut world, 1, Some(good.clone())), Some(range(0, 6)));
    world.restart();
    world.join(1);
    world.lend(1, 100, 2 << 20, Some(good.clone()));
    assert_eq!(world.layers_of(1), None, "a lease of more than there is room for now");
    // A node that the server has an assignment for cannot bring another one.
    world.now += PLAN_DELAY;
    world.tick();
    let assigned = world.layers_of(1);
    world.lend(1, 100, GIB, Some(good));
    assert_eq!(world.layers_of(1), assigned);
}

#[test]
fn a_lease_is_renewed_long_before_it_ends() {
    let mut world = World::new(6);
    // More than are signed at a time.
    for node in 0..100 {
        world.register(node, 100, GIB);
    }
    world.plan_and_load();
    let before = world.leases.clone();
    assert_eq!(before.len(), 100);
    world.now += LEASE / 2 - Duration::from_secs(60);
    assert_eq!(world.tick(), vec![]);
    world.now += Duration::from_secs(60);
    assert_eq!(world.tick().len(), 100);
    for (node, lease) in &world.leases {
        assert_eq!(lease.lease.layers, before[node].lease.layers);
        assert!(lease.lease.until_s > before[node].lease.until_s + LEASE.as_secs() / 3);
    }
    assert!(world.scheduler.next_tick().is_some_and(|at| at > world.now + LEASE / 3));
    world.handle(1, Event::Left);
    world.now += LEASE / 2;
    assert!(!world.tick().iter().any(|Action::Send(node, _)| *node == id(1)));
}
