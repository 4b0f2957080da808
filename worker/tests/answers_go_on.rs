//! Whoever leaves, whenever: the answer is the one that it would have been, to the token.

mod harness;

use harness::Swarm;
use potluck_protocol::id::NodeId;

const PROMPT: &str = "Tell me a story about a fox and a lantern.";
const TOKENS: u32 = 40;
/// Everything is held twice; the requester comes last.
const RANGES: [(u32, u32); 6] = [(0, 2), (2, 4), (4, 6), (0, 2), (2, 4), (4, 6)];

/// One run: the answer, how many deliveries it took, and whether it did, and had to, break off.
struct Run {
    tokens: Vec<u32>,
    deliveries: usize,
    has_broken: bool,
    must_break: bool,
}

/// Asks, and lets `happen` before the delivery of that number; it says whether what it did is in
/// the way of the answer that is running.
fn answer(seed: u64, at: Option<usize>, happen: impl Fn(&mut Swarm, &[NodeId]) -> bool) -> Run {
    let (mut swarm, ids) = Swarm::seeded(seed, 7, &RANGES);
    let requester = ids[6];
    swarm.ask(requester, PROMPT, 1, TOKENS);
    let (mut deliveries, mut must_break) = (0, false);
    swarm.settle_with(|swarm, _, _| {
        deliveries += 1;
        if Some(deliveries) == at {
            // The last token but one may have passed a stage already; before that, every stage and
            // every connection is needed again.
            let is_early = swarm.tokens(requester).len() + 2 <= TOKENS as usize;
            must_break = happen(swarm, &ids) && is_early;
        }
        true
    });
    assert_eq!(swarm.failure(requester), None, "at delivery {at:?}, seed {seed}");
    let has_broken = !swarm.breaks(requester).is_empty();
    Run { tokens: swarm.tokens(requester), deliveries, has_broken, must_break }
}

/// Lets the stages in `places` vanish.
fn kill(places: &[usize]) -> impl Fn(&mut Swarm, &[NodeId]) -> bool {
    move |swarm, ids| {
        let route = swarm.running_session();
        for place in places {
            swarm.kill(route.as_ref().map_or(ids[*place], |session| session.stages[*place].node));
        }
        route.is_some()
    }
}

/// Moments from the question to the last token.
fn moments(deliveries: usize, count: usize) -> impl Iterator<Item = usize> {
    (1..=count).map(move |at| (at * deliveries / count).max(1))
}

/// Lets each stage vanish at so many moments; the deaths that had to break the answer, and did.
fn deaths(seed: u64, count: usize) -> usize {
    let whole = answer(seed, None, |_, _| false);
    assert_eq!(whole.tokens.len(), TOKENS as usize);
    let mut broken = 0;
    for place in 0..3 {
        for at in moments(whole.deliveries, count) {
            let run = answer(seed, Some(at), kill(&[place]));
            assert_eq!(run.tokens, whole.tokens, "stage {place} vanished at delivery {at}");
            assert!(
                run.has_broken || !run.must_break,
                "nobody noticed that stage {place} vanished at delivery {at}, seed {seed}"
            );
            broken += usize::from(run.must_break);
        }
    }
    broken
}

#[test]
fn any_stage_may_vanish_at_any_time() {
    // 67 moments and three places: 201 deaths. All but those before the route and after the last
    // token break the answer off.
    let broken = deaths(1, 67);
    assert!(broken > 170, "{broken} of 201 deaths came in the middle of the answer");
}

#[test]
fn nor_does_it_matter_in_which_order_things_come() {
    for seed in 2..=5 {
        let broken = deaths(seed, 8);
        assert!(broken > 15, "{broken} of 24 deaths came in the middle of the answer");
    }
}

#[test]
fn a_page_that_was_reloaded_goes_on_from_any_token() {
    let expected = answer(1, None, |_, _| false).tokens;
    for sampled in 0..expected.len() {
        let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
        swarm.go_on(ids[2], PROMPT, 1, TOKENS, expected[..sampled].to_vec());
        swarm.settle();
        assert_eq!(swarm.tokens(ids[2]), expected, "after {sampled} tokens");
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
    let whole = answer(1, None, |_, _| false);
    let mut broken = 0;
    for places in [[0, 1], [1, 2], [0, 2]] {
        for at in moments(whole.deliveries, 12) {
            let run = answer(1, Some(at), kill(&places));
            assert_eq!(run.tokens, whole.tokens, "stages {places:?} vanished at delivery {at}");
            assert!(run.has_broken || !run.must_break, "{places:?} at delivery {at}");
            broken += usize::from(run.must_break);
        }
    }
    assert!(broken > 27, "{broken} of 36 deaths came in the middle of the answer");
}

#[test]
fn any_connection_may_break_at_any_time() {
    let whole = answer(1, None, |_, _| false);
    let mut broken = 0;
    for place in 0..3 {
        for at in moments(whole.deliveries, 12) {
            let cut = |swarm: &mut Swarm, ids: &[NodeId]| {
                let Some(session) = swarm.running_session() else { return false };
                let (one, other) = match session.stages.get(place + 1) {
                    Some(next) => (session.stages[place].node, next.node),
                    None => (session.stages[place].node, ids[6]),
                };
                let was_open = swarm.are_connected(one, other);
                swarm.cut(one, other);
                was_open
            };
            let run = answer(1, Some(at), cut);
            assert_eq!(run.tokens, whole.tokens, "stage {place} lost the next at delivery {at}");
            assert!(run.has_broken || !run.must_break, "stage {place}, delivery {at}");
            broken += usize::from(run.must_break);
        }
    }
    assert!(broken > 22, "{broken} of 36 breaks came in the middle of the answer");
}
