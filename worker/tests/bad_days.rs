//! Layers nobody holds, nodes that vanish, a server that restarts: what the asker reads, and that nothing hangs.

mod harness;

use std::time::Duration;

use harness::{Delivery, Swarm};
use potluck_net as net;
use potluck_protocol::id::LayerRange;
use potluck_protocol::page::{AnswerEnd, AnswerEvent, BackendPreference, Command};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::server::Verdict;
use potluck_worker::node::Input;

const PROMPT: &str = "Tell me a story about a fox and a lantern.";

#[test]
fn layers_nobody_holds_are_named_and_the_answer_comes_when_somebody_does() {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 2), (4, 6)]);
    swarm.ask(ids[3], PROMPT, 1, 10);
    swarm.settle();
    let waiting = swarm.answer_events(ids[3]);
    let Some(AnswerEvent::Waiting { model, missing }) = waiting.last() else { panic!("{waiting:?}") };
    assert_eq!(AnswerEvent::waiting_text(model, missing), "layers 2 to 3 of potluck-tiny have no volunteer yet");
    swarm.assignments.insert(ids[2], LayerRange { first: 2, end: 4 });
    swarm.command(ids[2], Command::Lend { backend: BackendPreference::Cpu, memory_bytes: 1 << 30 });
    swarm.settle();
    assert_eq!(swarm.tokens(ids[3]).len(), 10);
}

#[test]
fn a_waiting_question_can_be_cancelled() {
    let (mut swarm, ids) = Swarm::new(2, &[(0, 2)]);
    swarm.ask(ids[1], PROMPT, 1, 10);
    swarm.settle();
    swarm.command(ids[1], Command::Cancel { ask: 7 });
    swarm.settle();
    let events = swarm.answer_events(ids[1]);
    assert!(matches!(events.last(), Some(AnswerEvent::Done { end: AnswerEnd::Cancelled, .. })), "{events:?}");
}

#[test]
fn a_running_answer_can_be_cancelled_and_its_work_is_still_credited() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.ask(ids[2], PROMPT, 1, 200);
    let (asker, mut tokens) = (ids[2], 0);
    swarm.settle_with(|swarm, to, delivery| {
        if matches!(delivery, Delivery::Peer { frame: PeerFrame::Token { .. }, .. }) && to == asker {
            tokens += 1;
            if tokens == 20 {
                swarm.command(asker, Command::Cancel { ask: 7 });
            }
        }
        true
    });
    let events = swarm.answer_events(ids[2]);
    assert!(matches!(events.last(), Some(AnswerEvent::Done { end: AnswerEnd::Cancelled, .. })), "{events:?}");
    assert!(swarm.receipts.iter().any(|signed| signed.receipt.worker == ids[0]));
    assert!(swarm.receipts.iter().any(|signed| signed.receipt.worker == ids[1]));
}

#[test]
fn a_stage_that_vanishes_is_named_to_the_asker() {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 2), (2, 4), (4, 6)]);
    swarm.ask(ids[3], PROMPT, 1, 200);
    let (asker, victim, mut tokens) = (ids[3], ids[1], 0);
    swarm.settle_with(|swarm, to, delivery| {
        if matches!(delivery, Delivery::Peer { frame: PeerFrame::Token { .. }, .. }) && to == asker {
            tokens += 1;
            if tokens == 5 {
                swarm.kill(victim);
            }
        }
        true
    });
    let failure = swarm.failure(ids[3]).expect("the asker hears of it");
    assert!(failure.contains(&victim.name()), "{failure}");
    assert!(failure.contains("text so far is kept"), "{failure}");
}

#[test]
fn a_stage_that_falls_silent_does_not_hang_the_asker() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.ask(ids[2], PROMPT, 1, 200);
    let mut hidden = 0;
    swarm.settle_with(|_, _, delivery| {
        if matches!(delivery, Delivery::Peer { frame: PeerFrame::Hidden { .. }, .. }) {
            hidden += 1;
        }
        hidden < 5 || !matches!(delivery, Delivery::Peer { frame: PeerFrame::Hidden { .. }, .. })
    });
    assert_eq!(swarm.failure(ids[2]), None);
    swarm.pass(Duration::from_secs(31));
    assert!(swarm.failure(ids[2]).unwrap().contains("no token came"));
}

#[test]
fn a_volunteer_who_stops_ends_its_sessions_at_once() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.ask(ids[2], PROMPT, 1, 200);
    let (asker, stopper, mut tokens) = (ids[2], ids[0], 0);
    swarm.settle_with(|swarm, to, delivery| {
        if matches!(delivery, Delivery::Peer { frame: PeerFrame::Token { .. }, .. }) && to == asker {
            tokens += 1;
            if tokens == 5 {
                swarm.command(stopper, Command::StopLending);
            }
        }
        true
    });
    assert!(swarm.failure(ids[2]).unwrap().contains("stopped lending"));
    assert!(swarm.receipts.iter().any(|signed| signed.receipt.worker == stopper), "what it did is still credited");
}

#[test]
fn receipts_wait_for_a_server_that_is_away() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.verdict = Some(Verdict::TryAgain);
    swarm.ask(ids[2], PROMPT, 1, 80);
    swarm.settle();
    assert_eq!(swarm.receipts.len(), 0);
    for id in &ids {
        let event = net::Event::ServerClosed { reason: "restarting".to_owned() };
        swarm.queue.push_back((*id, Delivery::Input(Input::Transport(event))));
    }
    swarm.settle();
    swarm.verdict = None;
    swarm.pass(Duration::from_secs(2));
    let workers: Vec<_> = swarm.receipts.iter().map(|signed| signed.receipt.worker).collect();
    assert!(workers.contains(&ids[0]) && workers.contains(&ids[1]), "{workers:?}");
}

#[test]
fn an_answer_survives_a_server_that_goes_away() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.ask(ids[2], PROMPT, 1, 60);
    let (asker, mut tokens) = (ids[2], 0);
    let everyone = ids.clone();
    swarm.settle_with(|swarm, to, delivery| {
        if matches!(delivery, Delivery::Peer { frame: PeerFrame::Token { .. }, .. }) && to == asker {
            tokens += 1;
            if tokens == 5 {
                for id in &everyone {
                    let event = net::Event::ServerClosed { reason: "gone".to_owned() };
                    swarm.queue.push_back((*id, Delivery::Input(Input::Transport(event))));
                }
            }
        }
        true
    });
    assert_eq!(swarm.tokens(asker).len(), 60);
    assert_eq!(swarm.failure(asker), None);
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
