//! Whoever leaves, whenever: the answer is the one that it would have been, to the token.

mod harness;

use harness::Swarm;
use potluck_protocol::id::NodeId;

const PROMPT: &str = "Tell me a story about a fox and a lantern.";
const TOKENS: u32 = 40;
/// Everything is held twice; the requester comes last.
const RANGES: [(u32, u32); 6] = [(0, 2), (2, 4), (4, 6), (0, 2), (2, 4), (4, 6)];

/// Asks, and lets `happen` before the delivery of that number. The answer, how many deliveries it
/// took, and how often it broke off.
fn answer(at: Option<usize>, happen: impl Fn(&mut Swarm, &[NodeId])) -> (Vec<u32>, usize, usize) {
    let (mut swarm, ids) = Swarm::new(7, &RANGES);
    let requester = ids[6];
    swarm.ask(requester, PROMPT, 1, TOKENS);
    let mut deliveries = 0;
    swarm.settle_with(|swarm, _, _| {
        deliveries += 1;
        if Some(deliveries) == at {
            happen(swarm, &ids);
        }
        true
    });
    assert_eq!(swarm.failure(requester), None, "at delivery {at:?}");
    (swarm.tokens(requester), deliveries, swarm.breaks(requester).len())
}

/// Moments from the question to the last token.
fn moments(deliveries: usize, count: usize) -> impl Iterator<Item = usize> {
    (1..=count).map(move |at| (at * deliveries / count).max(1))
}

#[test]
fn any_stage_may_vanish_at_any_time() {
    let (expected, deliveries, _) = answer(None, |_, _| ());
    assert_eq!(expected.len(), TOKENS as usize);
    let mut broken = 0;
    for place in 0..3 {
        // 67 moments and three places: 200 deaths.
        for at in moments(deliveries, 67) {
            let kill = |swarm: &mut Swarm, ids: &[NodeId]| {
                let route = swarm.running_session();
                let victim = route.map_or(ids[place], |session| session.stages[place].node);
                swarm.kill(victim);
            };
            let (tokens, _, breaks) = answer(Some(at), kill);
            assert_eq!(tokens, expected, "stage {place} vanished at delivery {at}");
            broken += usize::from(breaks > 0);
        }
    }
    // All but those before the route and after the last token.
    assert!(broken > 180, "{broken} of 201 deaths were noticed");
}

#[test]
fn a_page_that_was_reloaded_goes_on_from_any_token() {
    let (expected, _, _) = answer(None, |_, _| ());
    for drawn in 0..expected.len() {
        let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
        swarm.go_on(ids[2], PROMPT, 1, TOKENS, expected[..drawn].to_vec());
        swarm.settle();
        assert_eq!(swarm.tokens(ids[2]), expected, "after {drawn} tokens");
    }
    for (wrong, said) in
        [(vec![1 << 20], "a token that"), (vec![1; TOKENS as usize], "whole already")]
    {
        let (mut swarm, ids) = Swarm::new(2, &[(0, 6)]);
        swarm.go_on(ids[1], PROMPT, 1, TOKENS, wrong);
        swarm.settle();
        let failure = swarm.failure(ids[1]).unwrap_or_default();
        assert!(failure.contains(said), "{failure:?}");
    }
}

#[test]
fn two_stages_may_vanish_at_once() {
    let (expected, deliveries, _) = answer(None, |_, _| ());
    for (one, other) in [(0, 1), (1, 2), (0, 2)] {
        for at in moments(deliveries, 12) {
            let kill = |swarm: &mut Swarm, ids: &[NodeId]| {
                let route = swarm.running_session();
                for place in [one, other] {
                    swarm.kill(
                        route.as_ref().map_or(ids[place], |session| session.stages[place].node),
                    );
                }
            };
            assert_eq!(
                answer(Some(at), kill).0,
                expected,
                "stages {one} and {other} vanished at delivery {at}"
            );
        }
    }
}

#[test]
fn any_connection_may_break_at_any_time() {
    let (expected, deliveries, _) = answer(None, |_, _| ());
    for place in 0..3 {
        for at in moments(deliveries, 12) {
            let cut = |swarm: &mut Swarm, ids: &[NodeId]| {
                let Some(session) = swarm.running_session() else { return };
                let next = session.stages.get(place + 1).map_or(ids[6], |stage| stage.node);
                swarm.cut(session.stages[place].node, next);
            };
            assert_eq!(
                answer(Some(at), cut).0,
                expected,
                "stage {place} lost the next at delivery {at}"
            );
        }
    }
}
