//! A repetition penalty means the same however the layers are cut, whoever has the ends, and whoever
//! leaves: the tokens are the single process's. Only the stage that samples hears which tokens there
//! are, and with private ends nobody does.

mod harness;

use std::collections::BTreeSet;

use futures::executor::block_on;
use harness::{Delivery, Swarm, package};
use potluck_engine::engine::BackendChoice;
use potluck_model::chat::{Conversation, LocalTime};
use potluck_protocol::id::NodeId;
use potluck_protocol::page::{OwnPart, SamplingChoice};
use potluck_protocol::peer::PeerFrame;
use potluck_worker::local::{Model, Question};

const PROMPT: &str = "Tell me a story about a fox and a lantern.";
const TOKENS: u32 = 60;

fn choice(penalty: Option<u32>) -> SamplingChoice {
    SamplingChoice { repetition_penalty_milli: penalty, seed: 11, ..SamplingChoice::default() }
}

#[expect(clippy::unwrap_used, reason = "test code")]
fn expected(prompt: &str, penalty: Option<u32>, tokens: u32) -> Vec<u32> {
    let model = Model::open(package().path(), "potluck-tiny").unwrap();
    let (sampling, asked_at) = (choice(penalty), LocalTime::default());
    let question = Question {
        conversation: &Conversation::question(prompt),
        asked_at,
        sampling,
        max_tokens: Some(tokens),
    };
    block_on(model.answer(BackendChoice::Scalar, &question)).unwrap().token_ids
}

/// Who was told which tokens there are.
#[derive(Debug, Default)]
struct Told(Vec<(NodeId, usize)>);

impl Told {
    fn look(&mut self, to: NodeId, delivery: &Delivery) {
        if let Delivery::Peer { frame: PeerFrame::Seen { tokens, .. }, .. } = delivery {
            self.0.push((to, tokens.len()));
        }
    }
}

#[test]
fn every_cut_and_every_own_part_gives_the_tokens_of_one_machine() {
    let long = "tell me a story about a fox and a lantern. ".repeat(20);
    let parts = [None, Some(OwnPart::Ends { layers: 1 }), Some(OwnPart::All)];
    for (prompt, tokens) in [(PROMPT, TOKENS), (long.as_str(), 8)] {
        let whole = expected(prompt, Some(1300), tokens);
        assert_ne!(whole, expected(prompt, None, tokens), "the penalty is felt");
        assert_eq!(expected(prompt, Some(1000), tokens), expected(prompt, None, tokens));
        for cut in [&[(0, 6)][..], &[(0, 3), (3, 6)], &[(0, 2), (2, 4), (4, 6)]] {
            let (mut swarm, ids) = Swarm::new(4, cut);
            // One who only asks, and the stage that samples itself.
            for (asker, part) in
                parts.iter().flat_map(|part| [(ids[3], part), (ids[cut.len() - 1], part)])
            {
                swarm.notices.clear();
                let mut told = Told::default();
                swarm.ask_sampled(asker, prompt, choice(Some(1300)), tokens, *part);
                swarm.settle_with(|_, to, delivery| {
                    told.look(to, delivery);
                    true
                });
                assert_eq!(swarm.tokens(asker), whole, "{cut:?}, {part:?}");
                // Nobody sends anything to itself over the network.
                let by_others = part.is_none() && asker == ids[3];
                let heard: Vec<NodeId> = told.0.iter().map(|(to, _)| *to).collect();
                let last: Vec<NodeId> = by_others.then(|| ids[cut.len() - 1]).into_iter().collect();
                assert_eq!(heard, last, "{cut:?}, {part:?}");
            }
            let mut told = Told::default();
            swarm.ask_sampled(ids[3], prompt, choice(None), tokens, None);
            swarm.settle_with(|_, to, delivery| {
                told.look(to, delivery);
                true
            });
            assert!(told.0.is_empty(), "nobody needs to know without a penalty: {told:?}");
        }
    }
}

#[test]
fn whoever_takes_over_hears_of_all_tokens_so_far() {
    let ranges = [(0, 2), (2, 4), (4, 6), (0, 2), (2, 4), (4, 6)];
    let whole = expected(PROMPT, Some(1300), TOKENS);
    for place in 0..3 {
        for part in [None, Some(OwnPart::Ends { layers: 1 })] {
            let (mut swarm, ids) = Swarm::new(7, &ranges);
            let (asker, mut is_killed, mut told) = (ids[6], false, Told::default());
            swarm.ask_sampled(asker, PROMPT, choice(Some(1300)), TOKENS, part);
            swarm.settle_with(|swarm, to, delivery| {
                told.look(to, delivery);
                if !is_killed && swarm.tokens(asker).len() == 20 {
                    is_killed = true;
                    let stage = swarm.session().stages[place].node;
                    swarm.kill(stage);
                }
                true
            });
            assert_eq!(swarm.tokens(asker), whole, "stage {place} vanished, {part:?}");
            assert_eq!(swarm.breaks(asker).len(), 1);
            let distinct: Vec<usize> = told.0.iter().map(|(_, count)| *count).collect();
            match (part, &distinct[..]) {
                (None, [prompt, then]) => assert!(then > prompt, "{distinct:?}"),
                (Some(_), []) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The tokens travel past the stages between, so rows may be there before them.
#[test]
fn rows_wait_for_the_tokens_that_their_sample_is_for() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    let (asker, mut kept) = (ids[2], None);
    swarm.ask_sampled(asker, PROMPT, choice(Some(1300)), TOKENS, None);
    swarm.settle_with(|_, to, delivery| match delivery {
        Delivery::Peer { from, frame: frame @ PeerFrame::Seen { .. } } if kept.is_none() => {
            kept = Some((to, *from, frame.clone()));
            false
        }
        _ => true,
    });
    assert_eq!(swarm.tokens(asker), Vec::<u32>::new(), "nothing is sampled without them");
    let Some((to, from, frame)) = kept else { panic!("nobody was told") };
    let PeerFrame::Seen { tokens, .. } = &frame else { panic!("{frame:?}") };
    let distinct: BTreeSet<u32> = tokens.iter().copied().collect();
    assert!(distinct.iter().eq(tokens), "each once, in order: nothing of their places");
    swarm.peer_says(to, from, frame);
    swarm.settle();
    assert_eq!(swarm.tokens(asker), expected(PROMPT, Some(1300), TOKENS));
    assert_eq!(swarm.breaks(asker), Vec::<String>::new());
}

#[test]
fn tokens_told_twice_or_to_somebody_else_are_a_fault() {
    for to in [0, 1] {
        let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
        let (asker, mut is_told) = (ids[2], false);
        swarm.ask_sampled(asker, PROMPT, choice(Some(1300)), TOKENS, None);
        swarm.settle_with(|swarm, _, _| {
            if !is_told && swarm.tokens(asker).len() == 5 {
                is_told = true;
                let session = swarm.session().id;
                let seen = PeerFrame::Seen { session, tokens: vec![1, 2] };
                swarm.send_frame(asker, ids[to], &seen);
            }
            true
        });
        assert!(swarm.closed.contains(&(ids[to], asker)), "stage {to} goes on with it");
    }
}

#[test]
fn a_penalty_that_none_may_ask_for_is_said_before_anybody_is_asked() {
    let (mut swarm, ids) = Swarm::new(2, &[(0, 6)]);
    swarm.ask_sampled(ids[1], PROMPT, choice(Some(2001)), TOKENS, None);
    swarm.settle();
    let failure = swarm.failure(ids[1]).unwrap_or_default();
    assert!(failure.contains("2.001; use 1 for none, or 0.5 to 2"), "{failure}");
    assert_eq!(swarm.running_session(), None);
}
