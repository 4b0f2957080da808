//! A volunteer's grant ends while their machine computes an answer: it computes nothing more, says why,
//! and the answer goes on elsewhere as if nothing had been.

mod harness;

use std::time::Duration;

use harness::Swarm;
use potluck_protocol::grant::MAX_GRANT_S;
use potluck_protocol::id::NodeId;
use potluck_protocol::page::{LendingPhase, Notice};

const PROMPT: &str = "Tell me a story about a fox and a lantern.";
const TOKENS: u32 = 40;
/// Everything is held twice; the requester comes last.
const RANGES: [(u32, u32); 4] = [(0, 3), (3, 6), (0, 3), (3, 6)];

#[test]
fn the_answer_goes_on_elsewhere_and_nothing_is_computed_after() {
    let (mut swarm, ids) = Swarm::new(5, &RANGES);
    swarm.ask(ids[4], PROMPT, 1, TOKENS);
    swarm.settle();
    let expected = swarm.tokens(ids[4]);
    assert_eq!(expected.len(), TOKENS as usize);

    let (mut swarm, ids) = Swarm::new(5, &RANGES);
    let requester = ids[4];
    swarm.ask(requester, PROMPT, 1, TOKENS);
    let mut ended = None;
    swarm.settle_with(|swarm, _, _| {
        let Some(session) = swarm.running_session() else { return true };
        if ended.is_none() && swarm.tokens(requester).len() == 10 {
            // Its machine's calendar has come to the day on which it ends.
            let node = session.stages[0].node;
            swarm.set_calendar_ahead(node, Duration::from_secs(MAX_GRANT_S));
            ended = Some(node);
        }
        true
    });
    let node = ended.expect("the answer was running");
    assert_eq!(swarm.failure(requester), None);
    assert_eq!(swarm.tokens(requester), expected);
    assert_eq!(swarm.breaks(requester).len(), 1, "it broke off once");
    assert!(swarm.session().stages.iter().all(|stage| stage.node != node), "and goes on elsewhere");
    let until_s = swarm.calendar(requester).as_secs() + MAX_GRANT_S / 2;
    let late = |(of, at): &&(NodeId, u64)| *of == node && *at > until_s;
    assert_eq!(swarm.computed.iter().filter(late).count(), 0, "not a step after the end");
    assert!(swarm.computed.iter().any(|(of, _)| *of == node), "but before");
    let told = swarm.notices.iter().rev().find_map(|(of, notice)| match notice {
        Notice::Lending(lending) if *of == node => Some(lending.phase.clone()),
        _ => None,
    });
    let Some(LendingPhase::Failed { reason }) = told else { panic!("{told:?}") };
    assert!(reason.contains("the grant has ended"), "{reason}");
}
