//! Layers nobody holds, nodes that vanish, a server that restarts: what the requester reads, and
//! that nothing hangs.

mod harness;

use std::time::Duration;

use harness::{Delivery, Swarm};
use potluck_protocol::id::{LayerRange, NodeId, RequestId};
use potluck_protocol::page::{AnswerEnd, AnswerEvent, Command};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::server::{FromServer, Verdict};

/// What the answer is when nothing happens.
fn whole_answer(tokens: u32) -> Vec<u32> {
    let (mut swarm, ids) = Swarm::new(2, &[(0, 6)]);
    swarm.ask(ids[1], PROMPT, 1, tokens);
    swarm.settle();
    swarm.tokens(ids[1])
}

/// Lets `happen` when the requester is about to get so many tokens.
fn at_token(swarm: &mut Swarm, requester: NodeId, at: u32, happen: impl Fn(&mut Swarm)) {
    let mut tokens = 0;
    swarm.settle_with(|swarm, to, delivery| {
        if matches!(delivery, Delivery::Peer { frame: PeerFrame::Token { .. }, .. })
            && to == requester
        {
            tokens += 1;
            if tokens == at {
                happen(swarm);
            }
        }
        true
    });
}

const PROMPT: &str = "Tell me a story about a fox and a lantern.";

#[test]
fn layers_nobody_holds_are_named_and_the_answer_comes_when_somebody_does() {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 2), (4, 6)]);
    swarm.ask(ids[3], PROMPT, 1, 10);
    swarm.settle();
    let waiting = swarm.answer_events(ids[3]);
    let Some(AnswerEvent::Waiting { model, missing }) = waiting.last() else {
        panic!("{waiting:?}")
    };
    assert_eq!(
        AnswerEvent::waiting_text(model, missing),
        "layers 2 to 3 of potluck-tiny have no volunteer yet"
    );
    swarm.server.assignments.insert(ids[2], LayerRange { first: 2, end: 4 });
    swarm.lend(ids[2], 1 << 30);
    swarm.settle();
    assert_eq!(swarm.tokens(ids[3]).len(), 10);
}

#[test]
fn a_waiting_question_can_be_cancelled() {
    let (mut swarm, ids) = Swarm::new(2, &[(0, 2)]);
    swarm.ask(ids[1], PROMPT, 1, 10);
    swarm.settle();
    swarm.command(ids[1], Command::Cancel { request: RequestId(7) });
    swarm.settle();
    let events = swarm.answer_events(ids[1]);
    assert!(
        matches!(events.last(), Some(AnswerEvent::Done { end: AnswerEnd::Cancelled, .. })),
        "{events:?}"
    );
}

#[test]
fn a_running_answer_can_be_cancelled_and_its_work_is_still_credited() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.ask(ids[2], PROMPT, 1, 200);
    let (requester, mut tokens) = (ids[2], 0);
    swarm.settle_with(|swarm, to, delivery| {
        if matches!(delivery, Delivery::Peer { frame: PeerFrame::Token { .. }, .. })
            && to == requester
        {
            tokens += 1;
            if tokens == 20 {
                swarm.command(requester, Command::Cancel { request: RequestId(7) });
            }
        }
        true
    });
    let events = swarm.answer_events(ids[2]);
    assert!(
        matches!(events.last(), Some(AnswerEvent::Done { end: AnswerEnd::Cancelled, .. })),
        "{events:?}"
    );
    assert!(swarm.server.receipts.iter().any(|signed| signed.receipt.stage == ids[0]));
    assert!(swarm.server.receipts.iter().any(|signed| signed.receipt.stage == ids[1]));
}

#[test]
fn a_stage_that_vanishes_is_named_and_the_answer_goes_on_when_its_layers_are_back() {
    let (mut swarm, ids) = Swarm::new(5, &[(0, 2), (2, 4), (4, 6)]);
    let expected = whole_answer(200);
    swarm.ask(ids[4], PROMPT, 1, 200);
    let (requester, victim) = (ids[4], ids[1]);
    at_token(&mut swarm, requester, 5, |swarm| swarm.kill(victim));
    let breaks = swarm.breaks(requester);
    assert!(breaks.len() == 1 && breaks[0].contains(&victim.name()), "{breaks:?}");
    let events = swarm.answer_events(requester);
    let Some(AnswerEvent::Waiting { missing, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!(missing[..], [LayerRange { first: 2, end: 4 }]);
    swarm.server.assignments.insert(ids[3], LayerRange { first: 2, end: 4 });
    swarm.lend(ids[3], 1 << 30);
    swarm.settle();
    assert_eq!(swarm.tokens(requester), expected);
}

#[test]
fn a_stage_that_falls_silent_is_given_up() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.ask(ids[2], PROMPT, 1, 100);
    let mut hidden = 0;
    swarm.settle_with(|_, _, delivery| {
        if matches!(delivery, Delivery::Peer { frame: PeerFrame::Hidden { .. }, .. }) {
            hidden += 1;
        }
        hidden < 5 || !matches!(delivery, Delivery::Peer { frame: PeerFrame::Hidden { .. }, .. })
    });
    assert_eq!(swarm.failure(ids[2]), None);
    swarm.pass(Duration::from_secs(31));
    assert!(swarm.breaks(ids[2])[0].contains("no token came"));
    assert_eq!(swarm.tokens(ids[2]), whole_answer(100));
}

/// A lid that closes: connections stay open, and nobody says a word.
#[test]
fn a_stage_that_freezes_is_found_out_and_replaced() {
    for place in 0..3 {
        let (mut swarm, ids) = Swarm::new(7, &[(0, 2), (2, 4), (4, 6), (0, 2), (2, 4), (4, 6)]);
        let requester = ids[6];
        swarm.ask(requester, PROMPT, 1, 60);
        at_token(&mut swarm, requester, 9, |swarm| {
            let frozen = swarm.session().stages[place].node;
            swarm.freeze(frozen);
        });
        assert_eq!(swarm.breaks(requester).len(), 0);
        swarm.pass(Duration::from_millis(5_500));
        let breaks = swarm.breaks(requester);
        assert!(breaks.len() == 1 && breaks[0].contains("does not answer any more"), "{breaks:?}");
        assert_eq!(swarm.tokens(requester), whole_answer(60), "stage {place} froze");
    }
}

/// The same before there is a token: with connections that are open from an earlier question, and
/// while they are being opened. The server notices nothing at all here.
#[test]
fn a_stage_that_freezes_before_the_first_token_is_found_out_too() {
    for (is_connected, within) in [(true, 5_500), (false, 9_000)] {
        for place in 0..3 {
            let (mut swarm, ids) = Swarm::new(7, &[(0, 2), (2, 4), (4, 6), (0, 2), (2, 4), (4, 6)]);
            let requester = ids[6];
            if is_connected {
                swarm.ask(requester, PROMPT, 1, 60);
                swarm.settle();
                swarm.notices.clear();
            }
            swarm.ask(requester, PROMPT, 1, 60);
            let mut is_frozen = false;
            swarm.settle_with(|swarm, _, delivery| {
                if let Delivery::Server(FromServer::Route { session, .. }) = delivery
                    && !is_frozen
                {
                    is_frozen = true;
                    swarm.freeze(session.stages[place].node);
                }
                true
            });
            assert_eq!(swarm.tokens(requester), Vec::<u32>::new());
            swarm.pass(Duration::from_millis(within));
            assert_eq!(
                swarm.tokens(requester),
                whole_answer(60),
                "stage {place} froze, connected: {is_connected}, {:?}",
                swarm.breaks(requester)
            );
            assert_eq!(swarm.breaks(requester).len(), 1);
        }
    }
}

#[test]
fn stages_that_are_slow_are_waited_for() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.ask(ids[2], PROMPT, 1, 20);
    let mut held = Vec::new();
    let mut hidden = 0;
    swarm.settle_with(|_, to, delivery| {
        let Delivery::Peer { from, frame: frame @ PeerFrame::Hidden { .. } } = delivery else {
            return true;
        };
        hidden += 1;
        if hidden == 5 {
            held.push((to, *from, frame.clone()));
        }
        hidden < 5
    });
    for _ in 0..40 {
        swarm.pass(Duration::from_millis(500));
    }
    assert_eq!(swarm.breaks(ids[2]), Vec::<String>::new(), "they said that they are there");
    for (to, from, frame) in held {
        swarm.peer_says(to, from, frame);
    }
    swarm.settle();
    assert_eq!(swarm.tokens(ids[2]), whole_answer(20));
}

#[test]
fn a_swarm_that_brings_no_token_is_given_up_with_a_sentence() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.ask(ids[2], PROMPT, 1, 100);
    let silent = |_: &mut Swarm, _, delivery: &mut Delivery| {
        !matches!(delivery, Delivery::Peer { frame: PeerFrame::Hidden { .. }, .. })
    };
    for _ in 0..10 {
        swarm.pass_with(Duration::from_secs(31), silent);
    }
    swarm.settle_with(silent);
    assert_eq!(swarm.breaks(ids[2]).len(), 5);
    assert!(swarm.failure(ids[2]).unwrap().contains("no token came for 30 s"));
}

#[test]
fn a_volunteer_who_stops_ends_its_sessions_at_once_and_others_go_on() {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 3), (3, 6), (0, 3)]);
    swarm.ask(ids[3], PROMPT, 1, 200);
    let (requester, mut tokens, mut stopped) = (ids[3], 0, None);
    swarm.settle_with(|swarm, to, delivery| {
        if matches!(delivery, Delivery::Peer { frame: PeerFrame::Token { .. }, .. })
            && to == requester
        {
            tokens += 1;
            if tokens == 5 {
                let first = swarm.session().stages[0].node;
                swarm.command(first, Command::StopLending);
                stopped = Some(first);
            }
        }
        true
    });
    assert!(swarm.breaks(requester)[0].contains("stopped lending"));
    assert!(
        swarm.server.receipts.iter().any(|signed| Some(signed.receipt.stage) == stopped),
        "what it did is still credited"
    );
    assert_eq!(swarm.tokens(requester), whole_answer(200));
}

#[test]
fn receipts_wait_for_a_server_that_is_away() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.server.verdict = Some(Verdict::TryAgain);
    swarm.ask(ids[2], PROMPT, 1, 80);
    swarm.settle();
    assert_eq!(swarm.server.receipts.len(), 0);
    swarm.stop_server("restarting");
    swarm.settle();
    swarm.start_server();
    swarm.server.verdict = None;
    swarm.pass(Duration::from_secs(2));
    let stages: Vec<_> = swarm.server.receipts.iter().map(|signed| signed.receipt.stage).collect();
    assert!(stages.contains(&ids[0]) && stages.contains(&ids[1]), "{stages:?}");
}

#[test]
fn an_answer_survives_a_server_that_goes_away() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.ask(ids[2], PROMPT, 1, 60);
    let (requester, mut tokens) = (ids[2], 0);
    swarm.settle_with(|swarm, to, delivery| {
        if matches!(delivery, Delivery::Peer { frame: PeerFrame::Token { .. }, .. })
            && to == requester
        {
            tokens += 1;
            if tokens == 5 {
                swarm.stop_server("gone");
            }
        }
        true
    });
    assert_eq!(swarm.tokens(requester).len(), 60);
    assert_eq!(swarm.failure(requester), None);
}

#[test]
fn questions_that_cannot_be_asked_are_answered_with_a_sentence() {
    let (mut swarm, ids) = Swarm::new(2, &[(0, 6)]);
    swarm.ask(ids[1], "   ", 1, 10);
    swarm.settle();
    assert!(swarm.failure(ids[1]).unwrap().contains("empty"));
    swarm.notices.clear();
    swarm.ask(ids[1], &"lantern ".repeat(700), 1, 10);
    swarm.settle();
    let failure = swarm.failure(ids[1]).unwrap();
    assert!(failure.contains("tokens; potluck-tiny takes at most 512"), "{failure}");
}
