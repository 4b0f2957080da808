//! A conversation's next turn goes on with what its stages kept of the one before, and says what it
//! would have said without; whatever happens to what is kept.

mod harness;

use std::time::Duration;

use futures::executor::block_on;
use harness::{Delivery, Swarm, package};
use potluck_engine::engine::BackendChoice;
use potluck_model::chat::LocalTime;
use potluck_protocol::chat::{Conversation, Message, Role};
use potluck_protocol::id::NodeId;
use potluck_protocol::limits::KEPT_SESSION;
use potluck_protocol::page::{AnswerEvent, SamplingChoice};
use potluck_protocol::peer::PeerFrame;
use potluck_worker::local::{Model, Question};

const TOKENS: u32 = 24;
const RANGES: [(u32, u32); 6] = [(0, 2), (2, 4), (4, 6), (0, 2), (2, 4), (4, 6)];

#[expect(clippy::unwrap_used, reason = "test code")]
fn alone(conversation: &Conversation) -> Vec<u32> {
    let model = Model::open(package().path(), "potluck-tiny").unwrap();
    let sampling = SamplingChoice { seed: 1, ..SamplingChoice::default() };
    let asked_at = LocalTime::default();
    let question = Question { conversation, asked_at, sampling, max_tokens: Some(TOKENS) };
    block_on(model.answer(BackendChoice::Scalar, &question)).unwrap().token_ids
}

/// What came of one turn.
struct Turn {
    text: String,
    /// Tokens of its prompt, and of these, those that were not computed again.
    prompt: u32,
    kept: u32,
    steps: usize,
}

/// Says the conversation so far, and takes the answer into it, which must be the one of one process.
fn turn(swarm: &mut Swarm, asker: NodeId, said: &mut Conversation, next: &str) -> Turn {
    said.messages.push(Message::user(next));
    let before = swarm.answer_events(asker).len();
    let computed = swarm.computed.len();
    swarm.say(asker, said, TOKENS);
    swarm.settle();
    let events = swarm.answer_events(asker).split_off(before);
    let (mut tokens, mut text, mut counts) = (Vec::new(), String::new(), (0, 0));
    for event in &events {
        match event {
            AnswerEvent::Token { token, text: more } => {
                tokens.push(*token);
                text.push_str(more);
            }
            AnswerEvent::Route { prompt_tokens, kept_tokens, .. } => {
                counts = (*prompt_tokens, *kept_tokens);
            }
            AnswerEvent::Failed { reason, .. } => panic!("{reason}"),
            _ => {}
        }
    }
    assert_eq!(tokens, alone(said), "{next}");
    said.messages.push(Message::new(Role::Assistant, text.as_str()));
    Turn { text, prompt: counts.0, kept: counts.1, steps: swarm.computed.len() - computed }
}

const FIRST: &str =
    "Tell me a story about a fox and a lantern, and tell it so that a child sleeps well.";

#[test]
fn only_what_is_new_is_computed_and_the_answer_is_the_same() {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 2), (2, 4), (4, 6)]);
    let mut said = Conversation::default();
    let first = turn(&mut swarm, ids[3], &mut said, FIRST);
    assert_eq!(first.kept, 0);
    let session = swarm.session();
    let mut last = first.prompt;
    for next in ["What is 2 + 3?", "And 4 + 5?", "Who are you?"] {
        let turn = turn(&mut swarm, ids[3], &mut said, next);
        assert!(turn.kept >= last, "{next}: {} of {} are known", turn.kept, last);
        assert!(turn.kept < turn.prompt);
        last = turn.prompt;
        let next = swarm.session();
        assert_eq!(next.stages, session.stages);
        assert!(next.continues.is_some() && next.id != session.id);
    }
    // All of it is on receipts: every turn's where it went on.
    let counted = |node: NodeId| -> u32 {
        let receipts = swarm.server.receipts.iter().map(|signed| &signed.receipt);
        receipts.filter(|receipt| receipt.stage == node).map(|receipt| receipt.positions()).sum()
    };
    let counts: Vec<u32> = session.stages.iter().map(|stage| counted(stage.node)).collect();
    assert!(counts.iter().all(|count| *count == counts[0] && *count > 0), "{counts:?}");
    assert!(counts[0] < last + TOKENS + 60, "{counts:?}, of {last} positions in all");
}

#[test]
fn a_turn_that_is_said_otherwise_goes_back_to_where_it_differs() {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 2), (2, 4), (4, 6)]);
    let mut said = Conversation::default();
    let first = turn(&mut swarm, ids[3], &mut said, FIRST);
    let start = said.clone();
    let second = turn(&mut swarm, ids[3], &mut said, "What is 2 + 3?");
    let mut otherwise = start;
    let edited = turn(&mut swarm, ids[3], &mut otherwise, "What is 2 + 4?");
    assert!(edited.kept > first.prompt && edited.kept < second.prompt, "{}", edited.kept);
}

#[test]
fn nothing_is_kept_for_ever_and_nobody_counts_on_it() {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 2), (2, 4), (4, 6)]);
    let mut said = Conversation::default();
    turn(&mut swarm, ids[3], &mut said, FIRST);
    swarm.pass(KEPT_SESSION + Duration::from_secs(1));
    let late = turn(&mut swarm, ids[3], &mut said, "What is 2 + 3?");
    assert_eq!(late.kept, 0);
    // A stage that has forgotten says so, and the turn is computed from its beginning.
    let session = swarm.session();
    let stage = session.stages[1].node;
    let forget = PeerFrame::End { session: session.id, keeps: false };
    swarm.peer_says(stage, ids[3], forget);
    swarm.settle();
    let again = turn(&mut swarm, ids[3], &mut said, "And 4 + 5?");
    assert_eq!(again.kept, 0, "the last route is the one that counts");
    assert_eq!(swarm.breaks(ids[3]).len(), 1);
}

#[test]
fn a_stage_that_is_gone_between_two_turns_is_replaced() {
    for place in 0..3 {
        let (mut swarm, ids) = Swarm::seeded(9, 7, &RANGES);
        let mut said = Conversation::default();
        turn(&mut swarm, ids[6], &mut said, FIRST);
        swarm.kill(swarm.session().stages[place].node);
        swarm.settle();
        let next = turn(&mut swarm, ids[6], &mut said, "What is 2 + 3?");
        assert_eq!(next.kept, 0);
        assert!(!next.text.is_empty());
    }
}

#[test]
fn a_stage_that_is_gone_in_the_middle_of_a_later_turn_is_replaced() {
    for at in [1, 9, 30, 60] {
        let (mut swarm, ids) = Swarm::seeded(10, 7, &RANGES);
        let mut said = Conversation::default();
        turn(&mut swarm, ids[6], &mut said, FIRST);
        said.messages.push(Message::user("What is 2 + 3?"));
        let before = swarm.tokens(ids[6]).len();
        swarm.say(ids[6], &said, TOKENS);
        let mut deliveries = 0;
        swarm.settle_with(|swarm, _, delivery| {
            deliveries += usize::from(matches!(delivery, Delivery::Peer { .. }));
            if deliveries == at {
                deliveries += 1;
                swarm.kill(swarm.session().stages[1].node);
            }
            true
        });
        assert_eq!(swarm.failure(ids[6]), None);
        assert_eq!(swarm.tokens(ids[6])[before..], alone(&said), "killed at frame {at}");
    }
}

#[test]
fn two_conversations_and_a_stranger_do_not_mix() {
    let (mut swarm, ids) = Swarm::new(5, &[(0, 2), (2, 4), (4, 6)]);
    let (mut one, mut other) = (Conversation::default(), Conversation::default());
    turn(&mut swarm, ids[3], &mut one, FIRST);
    let second = "Tell me a story about a mouse who lost a button in the tall grass by the river.";
    turn(&mut swarm, ids[3], &mut other, second);
    let mut copied = one.clone();
    let foreign = turn(&mut swarm, ids[4], &mut copied, "What is 2 + 3?");
    assert_eq!(foreign.kept, 0, "what is kept is its requester's");
    assert!(turn(&mut swarm, ids[3], &mut one, "What is 2 + 3?").kept > 30);
    let steps = turn(&mut swarm, ids[3], &mut other, "What is 2 + 3?");
    assert!(steps.kept > 30 && steps.steps > 0);
}
