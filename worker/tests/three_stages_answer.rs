//! Three stages answer a fourth node; the text is the single process's, and all work is on receipts
//! that both parties signed.

mod harness;

use futures::executor::block_on;
use harness::{Swarm, package};
use potluck_engine::engine::BackendChoice;
use potluck_model::chat::{Conversation, LocalTime};
use potluck_protocol::page::{AnswerEnd, AnswerEvent, SamplingChoice};
use potluck_worker::local::{Model, Question};

const PROMPT: &str = "Tell me a story about a fox and a lantern.";

#[expect(clippy::unwrap_used, reason = "test code")]
fn expected(seed: u64, max_tokens: u32) -> Vec<u32> {
    let model = Model::open(package().path(), "potluck-tiny").unwrap();
    let sampling = SamplingChoice { seed, ..SamplingChoice::default() };
    let question = Question {
        conversation: &Conversation::question(PROMPT),
        asked_at: LocalTime::default(),
        sampling,
        max_tokens: Some(max_tokens),
    };
    block_on(model.answer(BackendChoice::Scalar, &question)).unwrap().token_ids
}

#[test]
fn the_answer_is_the_single_process_answer_and_all_work_is_credited() {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 2), (2, 4), (4, 6)]);
    swarm.ask(ids[3], PROMPT, 11, 200);
    swarm.settle();
    let tokens = swarm.tokens(ids[3]);
    assert_eq!(tokens, expected(11, 200));
    let events = swarm.answer_events(ids[3]);
    assert!(
        matches!(events.last(), Some(AnswerEvent::Done { end: AnswerEnd::Stop, .. })),
        "{:?}",
        events.last()
    );

    let session = swarm.session();
    let prompt = events.iter().find_map(|event| match event {
        AnswerEvent::Route { prompt_tokens, .. } => Some(*prompt_tokens),
        _ => None,
    });
    // Every token but the last went in again.
    let positions = prompt.unwrap() + u32::try_from(tokens.len()).unwrap() - 1;
    for stage in &session.stages {
        let mut receipts: Vec<_> = swarm
            .server
            .receipts
            .iter()
            .map(|signed| &signed.receipt)
            .filter(|r| r.stage == stage.node)
            .collect();
        receipts.sort_by_key(|receipt| receipt.sequence);
        let mut next = 0;
        for receipt in &receipts {
            assert_eq!((receipt.from_position, receipt.layers), (next, stage.layers));
            next = receipt.to_position;
        }
        assert_eq!(next, positions, "{} is credited for every position", stage.layers);
        let sampled: u32 = receipts.iter().map(|receipt| receipt.sampled).sum();
        let last = stage.layers.end == 6;
        assert_eq!(sampled as usize, if last { tokens.len() } else { 0 });
    }
}

#[test]
fn one_node_can_hold_everything_and_ask_itself() {
    let (mut swarm, ids) = Swarm::new(1, &[(0, 6)]);
    swarm.ask(ids[0], PROMPT, 5, 40);
    swarm.settle();
    assert_eq!(swarm.tokens(ids[0]), expected(5, 40));
    assert!(swarm.server.receipts.is_empty(), "nobody is credited for what it asks itself");
}

#[test]
fn a_stage_can_ask_while_it_serves() {
    let (mut swarm, ids) = Swarm::new(2, &[(0, 3), (3, 6)]);
    swarm.ask(ids[0], PROMPT, 1, 30);
    swarm.ask(ids[1], PROMPT, 2, 30);
    swarm.settle();
    assert_eq!(swarm.tokens(ids[0]), expected(1, 30));
    assert_eq!(swarm.tokens(ids[1]), expected(2, 30));
}

#[test]
fn a_long_prompt_goes_out_in_several_steps() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 1), (1, 6)]);
    let prompt = "tell me a story about a fox and a lantern. ".repeat(12);
    swarm.ask(ids[2], &prompt, 3, 8);
    swarm.settle();
    let model = Model::open(package().path(), "potluck-tiny").unwrap();
    let sampling = SamplingChoice { seed: 3, ..SamplingChoice::default() };
    let question = Question {
        conversation: &Conversation::question(&prompt),
        asked_at: LocalTime::default(),
        sampling,
        max_tokens: Some(8),
    };
    let local = block_on(model.answer(BackendChoice::Scalar, &question)).unwrap();
    assert_eq!(swarm.tokens(ids[2]), local.token_ids);
}

/// Messages and frames come in another order at every seed; every receipt of every session is
/// signed and credited all the same, for every position once.
#[test]
fn receipts_of_parallel_sessions_do_not_mix() {
    for seed in 1..=4 {
        let (mut swarm, ids) = Swarm::seeded(seed, 6, &[(0, 2), (2, 4), (4, 6)]);
        // Three who only ask, and a stage that does too.
        let requesters = [ids[0], ids[3], ids[4], ids[5]];
        for (requester, answer) in requesters.into_iter().zip(1..) {
            swarm.ask(requester, PROMPT, answer, 100);
        }
        swarm.settle();
        assert_eq!(swarm.server.sessions.len(), 4, "all at once, none broke off");
        assert_eq!(swarm.server.refusals, Vec::<String>::new());
        for (requester, answer) in requesters.into_iter().zip(1..) {
            let tokens = swarm.tokens(requester);
            assert_eq!(tokens, expected(answer, 100));
            let prompt = swarm.answer_events(requester).into_iter().find_map(|event| match event {
                AnswerEvent::Route { prompt_tokens, .. } => Some(prompt_tokens),
                _ => None,
            });
            let positions = prompt.unwrap() + u32::try_from(tokens.len()).unwrap() - 1;
            let sessions = swarm.server.sessions.iter();
            let session = sessions.rev().find(|session| session.requester == requester).unwrap();
            for stage in &session.stages {
                let positions = if stage.node == requester { 0 } else { positions };
                let credited: u32 = swarm
                    .server
                    .receipts
                    .iter()
                    .map(|signed| &signed.receipt)
                    .filter(|receipt| (receipt.session, receipt.stage) == (session.id, stage.node))
                    .map(|receipt| receipt.to_position - receipt.from_position)
                    .sum();
                assert_eq!(credited, positions, "{} for {}", stage.layers, requester.name());
            }
        }
    }
}
