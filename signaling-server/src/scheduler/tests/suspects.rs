//! A node becomes suspect for all only on the word of several who do not depend on each other.

use super::*;
use crate::scheduler::quarantine::WORDS;

/// Two nodes that hold the same layer, and requesters from 10 on.
fn two_copies(requesters: u8) -> World {
    let mut world = World::new(1);
    world.register(1, 100, GIB);
    world.register(2, 100, GIB);
    world.plan_and_load();
    for requester in 0..requesters {
        world.join(10 + requester);
    }
    world
}

/// Opens a session and says that it failed at its stage, which is then the one that the next
/// session would go to.
fn accuse(world: &mut World, by: u8, exclude: &[u8]) -> NodeId {
    let exclude = exclude.iter().map(|node| id(*node)).collect();
    let session = route(&world.ask_without(by, exclude)).unwrap();
    let stage = session.stages[0].node;
    world.end(by, session.id, Some(stage));
    stage
}

#[test]
fn several_requesters_make_a_node_suspect_for_a_minute() {
    let mut world = two_copies(10);
    let words = u8::try_from(WORDS).unwrap();
    for requester in 0..words {
        assert_eq!(accuse(&mut world, 10 + requester, &[1]), id(2), "word {requester}");
    }
    for requester in 0..4 {
        let session = route(&world.ask(10 + requester)).unwrap();
        assert_eq!(session.stages[0].node, id(1));
    }
    assert_eq!(world.scheduler.next_tick(), Some(world.now + Duration::from_secs(60)));
    world.now += Duration::from_secs(60);
    world.tick();
    assert_eq!(route(&world.ask(19)).unwrap().stages[0].node, id(2), "it has the fewest sessions");
}

#[test]
fn a_suspect_is_used_where_there_is_nobody_else() {
    let mut world = two_copies(10);
    for requester in 10..10 + u8::try_from(WORDS).unwrap() {
        accuse(&mut world, requester, &[1]);
    }
    world.handle(1, Event::Left);
    assert_eq!(world.stages(10), [2]);
    // Under the same key it is suspect still when it comes back.
    world.handle(2, Event::Left);
    for node in [1, 2] {
        world.register(node, 100, GIB);
    }
    world.plan_and_load();
    assert_eq!(world.stages(10), [1]);
}

#[test]
fn one_requesters_word_counts_for_itself_only() {
    let mut world = two_copies(2);
    for _ in 0..10 {
        assert_eq!(accuse(&mut world, 10, &[1]), id(2));
    }
    assert_eq!(world.stages(11), [2]);
    assert_eq!(route(&world.ask_without(10, vec![id(2)])).unwrap().stages[0].node, id(1));
}

#[test]
fn keys_behind_one_public_address_are_one_word() {
    let mut world = two_copies(0);
    for key in 10..20 {
        world.join_as(key, 0, Some("203.0.113.7"));
        assert_eq!(accuse(&mut world, key, &[1]), id(2));
    }
    world.join_as(20, 0, Some("203.0.113.8"));
    assert_eq!(accuse(&mut world, 20, &[1]), id(2));
    assert_eq!(world.stages(20), [2], "two words");
    world.join_as(21, 0, Some("203.0.113.9"));
    assert_eq!(accuse(&mut world, 21, &[1]), id(2));
    assert_eq!(world.stages(20), [1], "three");
}

#[test]
fn only_requesters_are_heard_and_only_about_their_stages() {
    let mut world = two_copies(10);
    for requester in 10..20 {
        // A stage says that it was another requester's fault, a stranger that a stage failed, and a
        // requester that somebody failed who was not in the session.
        for (by, failed) in [(2, requester), (9, 2), (requester, 1)] {
            let session = route(&world.ask_without(requester, vec![id(1)])).unwrap();
            world.end(by, session.id, Some(id(failed)));
            world.end(requester, session.id, None);
        }
    }
    assert_eq!(world.stages(10), [2]);
    // A word that is too old counts no more.
    for requester in 10..13 {
        accuse(&mut world, requester, &[1]);
        world.now += Duration::from_secs(200);
        world.tick();
    }
    assert_eq!(world.stages(10), [2]);
}
