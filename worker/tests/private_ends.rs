//! The asker's own node computes the first and the last layers, or all of them: the answer is the one
//! that it would have been, and no frame to anybody else carries a token.

mod harness;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::executor::block_on;
use harness::{Delivery, Swarm, package};
use potluck_engine::engine::BackendChoice;
use potluck_model::chat::{Conversation, LocalTime};
use potluck_net as net;
use potluck_protocol::id::{LayerRange, NodeId};
use potluck_protocol::page::{AnswerEnd, AnswerEvent, OwnPart, SamplingChoice};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::server::FromServer;
use potluck_worker::local::{Model, Question};
use potluck_worker::node::Input;

const PROMPT: &str = "Tell me a story about a fox and a lantern.";
const SEED: u64 = 11;
const TOKENS: u32 = 60;
const ENDS: OwnPart = OwnPart::Ends { layers: 1 };

#[expect(clippy::unwrap_used, reason = "test code")]
fn expected(prompt: &str, tokens: u32) -> Vec<u32> {
    let model = Model::open(package().path(), "potluck-tiny").unwrap();
    let sampling = SamplingChoice { seed: SEED, ..SamplingChoice::default() };
    let question = Question {
        conversation: &Conversation::question(prompt),
        asked_at: LocalTime::default(),
        sampling,
        max_tokens: Some(tokens),
    };
    block_on(model.answer(BackendChoice::Scalar, &question)).unwrap().token_ids
}

/// What the network carried: of which kinds the frames between nodes were, and their rows.
#[derive(Debug, Default)]
struct Seen {
    /// Steps and tokens: words, or what draws them.
    words: usize,
    /// Rows to the first of the others, and back from the last.
    rows: usize,
    /// Seeds that anybody was told.
    seeds: BTreeSet<u64>,
    /// Connections that opened.
    connections: usize,
    /// Routes that the server gave.
    routes: usize,
}

impl Seen {
    fn look(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Peer { frame: PeerFrame::Step { .. } | PeerFrame::Token { .. }, .. } => {
                self.words += 1;
            }
            Delivery::Peer { frame: PeerFrame::Hidden { rows, sampling, .. }, .. } => {
                self.rows += *rows as usize;
                self.seeds.extend(sampling.map(|sampling| sampling.seed));
            }
            Delivery::Input(Input::Transport(net::Event::PeerOpen { .. })) => self.connections += 1,
            Delivery::Server(FromServer::Route { .. }) => self.routes += 1,
            _ => {}
        }
    }
}

/// Asks for an answer of which `part` is the asker's own, and looks at all that goes on.
fn ask(swarm: &mut Swarm, asker: NodeId, prompt: &str, tokens: u32, part: OwnPart) -> Seen {
    let mut seen = Seen::default();
    swarm.ask_with_own(asker, prompt, SEED, tokens, part);
    swarm.settle_with(|_, _, delivery| {
        seen.look(delivery);
        true
    });
    seen
}

#[test]
fn others_compute_the_middle_and_see_no_token() {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 2), (2, 4), (4, 6)]);
    let asker = ids[3];
    // What a plain question shows the same look, so that it can be seen to see.
    let mut plain = Seen::default();
    swarm.ask(asker, PROMPT, SEED, TOKENS);
    swarm.settle_with(|_, _, delivery| {
        plain.look(delivery);
        true
    });
    assert!(plain.words > 0 && plain.seeds.contains(&SEED), "{plain:?}");
    let whole = swarm.tokens(asker);
    assert_eq!(whole, expected(PROMPT, TOKENS));
    swarm.notices.clear();
    swarm.server.receipts.clear();

    let seen = ask(&mut swarm, asker, PROMPT, TOKENS, ENDS);
    assert_eq!(swarm.tokens(asker), whole, "{:?}", swarm.failure(asker));
    assert_eq!(seen.words, 0, "no token leaves the asker, and none comes to it");
    assert_eq!(seen.seeds, BTreeSet::from([0]), "nor how they are drawn");
    let session = swarm.session();
    let layers: Vec<LayerRange> = session.stages.iter().map(|stage| stage.layers).collect();
    let range = |first, end| LayerRange { first, end };
    assert_eq!(layers, [range(1, 2), range(2, 4), range(4, 5)]);
    let events = swarm.answer_events(asker);
    let own = events.iter().position(|event| matches!(event, AnswerEvent::Own { .. }));
    let route = events.iter().position(|event| matches!(event, AnswerEvent::Route { .. }));
    assert!(own.is_some() && own < route, "what is downloaded is said first: {events:?}");
    // The others are credited as ever, the asker is not.
    let prompt = events.iter().find_map(|event| match event {
        AnswerEvent::Route { prompt_tokens, .. } => Some(*prompt_tokens),
        _ => None,
    });
    let positions = prompt.unwrap() + u32::try_from(whole.len()).unwrap() - 1;
    for stage in &session.stages {
        let receipts = swarm.server.receipts.iter().map(|signed| &signed.receipt);
        let own = receipts.filter(|receipt| receipt.stage == stage.node);
        let credited: u32 = own.map(|it| it.to_position - it.from_position).sum();
        assert_eq!(credited, positions, "{}", stage.layers);
    }
    assert!(swarm.server.receipts.iter().all(|it| it.receipt.stage != asker));
    assert_eq!(swarm.server.refusals, Vec::<String>::new());
}

#[test]
fn a_long_prompt_keeps_to_the_windows() {
    let prompt = "tell me a story about a fox and a lantern. ".repeat(40);
    for cut in [&[(0, 6)][..], &[(0, 3), (3, 6)]] {
        let (mut swarm, ids) = Swarm::new(3, cut);
        let seen = ask(&mut swarm, ids[2], &prompt, 8, OwnPart::Ends { layers: 2 });
        assert_eq!(swarm.tokens(ids[2]), expected(&prompt, 8), "{:?}", swarm.failure(ids[2]));
        assert!(seen.rows > 3 * 256 && seen.words == 0, "{seen:?}");
    }
}

#[test]
fn a_stage_that_vanishes_is_replaced_from_the_tokens_kept() {
    // Everything is held twice; the asker comes last.
    let ranges = [(0, 2), (2, 4), (4, 6), (0, 2), (2, 4), (4, 6)];
    let whole = expected(PROMPT, TOKENS);
    let mut broken = 0;
    for place in 0..3 {
        for at in [1, 20, 45] {
            let (mut swarm, ids) = Swarm::seeded(at, 7, &ranges);
            let asker = ids[6];
            let mut words = Seen::default();
            let mut is_killed = false;
            swarm.ask_with_own(asker, PROMPT, SEED, TOKENS, ENDS);
            swarm.settle_with(|swarm, _, delivery| {
                words.look(delivery);
                if !is_killed && swarm.tokens(asker).len() as u64 == at {
                    is_killed = true;
                    let stage = swarm.session().stages[place].node;
                    swarm.kill(stage);
                }
                true
            });
            assert_eq!(swarm.tokens(asker), whole, "stage {place} vanished after {at} tokens");
            assert_eq!(words.words, 0);
            broken += swarm.breaks(asker).len();
        }
    }
    assert_eq!(broken, 9, "each of them broke the answer off");
}

#[test]
fn rows_that_were_not_asked_for_are_not_taken() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 6), (0, 6)]);
    let asker = ids[2];
    let mut has_lied = false;
    swarm.ask_with_own(asker, PROMPT, SEED, TOKENS, ENDS);
    swarm.settle_with(|swarm, to, delivery| {
        if let Delivery::Peer { frame: PeerFrame::Hidden { position, .. }, .. } = delivery
            && to == asker
            && !has_lied
            && swarm.tokens(asker).len() == 5
        {
            has_lied = true;
            *position += 1;
        }
        true
    });
    assert!(has_lied);
    assert_eq!(swarm.tokens(asker), expected(PROMPT, TOKENS), "others go on");
    assert_eq!(swarm.breaks(asker).len(), 1);
    // Nor is a token, of which this node draws all.
    let (mut swarm, ids) = Swarm::new(3, &[(0, 6), (0, 6)]);
    let asker = ids[2];
    let mut lies = 0;
    swarm.ask_with_own(asker, PROMPT, SEED, TOKENS, ENDS);
    swarm.settle_with(|swarm, to, delivery| {
        if let Delivery::Peer { from, frame: PeerFrame::Hidden { session, position, rows, .. } } =
            delivery
            && to == asker
            && lies == 0
        {
            let position = *position + *rows;
            let token = PeerFrame::Token { session: *session, position, token: 3 };
            lies += 1;
            let from = *from;
            swarm.peer_says(asker, from, token);
            return false;
        }
        true
    });
    assert_eq!((lies, swarm.tokens(asker)), (1, expected(PROMPT, TOKENS)));
    assert_eq!(swarm.breaks(asker).len(), 1);
}

#[test]
fn who_lends_everything_may_ask_with_its_own_ends() {
    for cut in [&[(0, 6)][..], &[(0, 3), (3, 6)], &[(0, 2), (2, 4), (4, 6)]] {
        let count = u8::try_from(cut.len()).unwrap();
        let (mut swarm, ids) = Swarm::new(count, cut);
        for asker in ids {
            swarm.notices.clear();
            let seen = ask(&mut swarm, asker, PROMPT, TOKENS, ENDS);
            assert_eq!(swarm.tokens(asker), expected(PROMPT, TOKENS), "{cut:?}");
            assert_eq!(seen.words, 0);
        }
    }
}

#[test]
fn all_of_it_here_needs_nobody() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 6)]);
    let asker = ids[1];
    let long = "tell me a story about a fox and a lantern. ".repeat(40);
    for (prompt, tokens) in [(PROMPT, TOKENS), (long.as_str(), 8)] {
        swarm.notices.clear();
        let seen = ask(&mut swarm, asker, prompt, tokens, OwnPart::All);
        assert_eq!(swarm.tokens(asker), expected(prompt, tokens), "{:?}", swarm.failure(asker));
        assert_eq!((seen.words, seen.rows, seen.connections, seen.routes), (0, 0, 0, 0));
        assert_eq!(swarm.running_session(), None, "the server knows of no session");
        let events = swarm.answer_events(asker);
        let last = events.last();
        assert!(matches!(last, Some(AnswerEvent::Done { .. })), "{last:?}");
    }
    // It may be given up like any other, and computes nothing then.
    swarm.notices.clear();
    swarm.ask_with_own(asker, PROMPT, SEED, TOKENS, OwnPart::All);
    let mut is_cancelled = false;
    swarm.settle_with(|swarm, _, _| {
        if !is_cancelled && swarm.tokens(asker).len() == 3 {
            is_cancelled = true;
            swarm.cancel(asker);
        }
        true
    });
    let ends =
        |event: &AnswerEvent| matches!(event, AnswerEvent::Done { end: AnswerEnd::Cancelled, .. });
    let events = swarm.answer_events(asker);
    assert!(events.last().is_some_and(ends), "{:?}", events.last());
    assert!(swarm.tokens(asker).len() < 6, "nothing is computed after it");
}

#[test]
fn what_cannot_be_computed_here_says_what_can() {
    let (mut swarm, ids) = Swarm::new(2, &[(0, 6)]);
    ask(&mut swarm, ids[1], PROMPT, TOKENS, OwnPart::Ends { layers: 3 });
    let failure = swarm.failure(ids[1]).unwrap_or_default();
    assert!(failure.contains("at most 2"), "{failure}");
    assert_eq!(swarm.running_session(), None);
}

#[test]
fn nothing_is_held_here_without_a_question_that_wants_it() {
    let (mut swarm, ids) = Swarm::new(2, &[(0, 6)]);
    let asker = ids[1];
    swarm.ask(asker, PROMPT, SEED, 4);
    swarm.settle();
    assert_eq!(swarm.own, [], "the swarm computes that one");
    // One that is given up while it gets ready.
    swarm.ask_with_own(asker, PROMPT, SEED, TOKENS, ENDS);
    swarm.settle_with(|swarm, _, _| {
        if swarm.own.len() == 1 {
            swarm.own.push((asker, "cancelled".to_owned()));
            swarm.cancel(asker);
        }
        true
    });
    let names = |swarm: &Swarm| swarm.own.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&swarm).last().map(String::as_str), Some("StopEngine"), "{:?}", swarm.own);
    assert!(!names(&swarm).iter().any(|name| name == "Compute"));
    // One that is answered: the engine waits a moment for the next.
    for _ in 0..2 {
        swarm.own.clear();
        ask(&mut swarm, asker, PROMPT, 4, ENDS);
        assert!(!names(&swarm).iter().any(|name| name == "StopEngine"), "{:?}", swarm.own);
        swarm.pass(Duration::from_secs(30));
    }
    assert!(!names(&swarm).iter().any(|name| name == "FetchBlob"), "it has them: {:?}", swarm.own);
    swarm.own.clear();
    swarm.pass(Duration::from_secs(31));
    assert_eq!(swarm.own, [(asker, "StopEngine".to_owned())]);
    swarm.notices.clear();
    ask(&mut swarm, asker, PROMPT, TOKENS, ENDS);
    assert_eq!(swarm.tokens(asker), expected(PROMPT, TOKENS), "and starts again");
}
