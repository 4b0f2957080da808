//! Frames that break the rules close that connection, with a reason; everybody else goes on.

mod harness;

use harness::{Delivery, Swarm, package};
use potluck_protocol::id::SessionId;
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::sampling::Sampling;

const PROMPT: &str = "Tell me a story about a fox and a lantern.";

/// Runs an answer and lets `forge` make one bad frame out of the third frame that goes to `victim`
/// on its way.
fn with_forged_frame(
    victim: usize,
    forge: impl Fn(PeerFrame) -> PeerFrame,
) -> (Swarm, Vec<potluck_protocol::id::NodeId>) {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 2), (2, 4), (4, 6)]);
    swarm.ask(ids[3], PROMPT, 11, 40);
    let target = ids[victim];
    let mut seen = 0;
    swarm.settle_with(|_, to, delivery| {
        if let Delivery::Peer { frame, .. } = delivery {
            let work = matches!(
                frame,
                PeerFrame::Step { .. } | PeerFrame::Hidden { .. } | PeerFrame::Token { .. }
            );
            if to == target && work {
                seen += 1;
                if seen == 3 {
                    *frame = forge(frame.clone());
                }
            }
        }
        true
    });
    assert!(seen >= 3, "the answer was long enough to be tampered with");
    (swarm, ids)
}

fn assert_refused(
    swarm: &Swarm,
    closer: potluck_protocol::id::NodeId,
    requester: potluck_protocol::id::NodeId,
) {
    assert!(
        swarm.closed.iter().any(|(by, _)| *by == closer),
        "the connection was closed by who got the bad frame"
    );
    assert_eq!(swarm.breaks(requester).len(), 1, "the requester hears of it");
    let (mut undisturbed, ids) = Swarm::new(2, &[(0, 6)]);
    undisturbed.ask(ids[1], PROMPT, 11, 40);
    undisturbed.settle();
    assert_eq!(swarm.tokens(requester), undisturbed.tokens(ids[1]), "and the answer goes on");
}

#[test]
fn a_step_out_of_order() {
    let (swarm, ids) = with_forged_frame(0, |frame| match frame {
        PeerFrame::Step { session, position, tokens, sampling } => {
            PeerFrame::Step { session, position: position + 1, tokens, sampling }
        }
        other => other,
    });
    assert_refused(&swarm, ids[0], ids[3]);
}

#[test]
fn a_token_that_the_model_does_not_have() {
    let (swarm, ids) = with_forged_frame(0, |frame| match frame {
        PeerFrame::Step { session, position, sampling, .. } => PeerFrame::Step {
            session,
            position,
            tokens: vec![package().manifest.config.vocab],
            sampling,
        },
        other => other,
    });
    assert_refused(&swarm, ids[0], ids[3]);
}

#[test]
fn hidden_rows_of_the_wrong_width() {
    let (swarm, ids) = with_forged_frame(1, |frame| match frame {
        PeerFrame::Hidden { session, position, rows, mut values, sampling } => {
            values.pop();
            PeerFrame::Hidden { session, position, rows, values, sampling }
        }
        other => other,
    });
    assert_refused(&swarm, ids[1], ids[3]);
}

#[test]
fn tokens_to_a_stage_that_takes_hidden_rows() {
    let (swarm, ids) = with_forged_frame(2, |frame| match frame {
        PeerFrame::Hidden { session, position, sampling, .. } => {
            PeerFrame::Step { session, position, tokens: vec![1], sampling }
        }
        other => other,
    });
    assert_refused(&swarm, ids[2], ids[3]);
}

#[test]
fn a_token_for_another_place() {
    let (swarm, ids) = with_forged_frame(3, |frame| match frame {
        PeerFrame::Token { session, position, token } => {
            PeerFrame::Token { session, position: position + 1, token }
        }
        other => other,
    });
    assert_refused(&swarm, ids[3], ids[3]);
}

#[test]
fn steps_from_someone_else_do_not_reach_the_session() {
    let (mut swarm, ids) = Swarm::new(5, &[(0, 2), (2, 4), (4, 6)]);
    let (requester, intruder, first) = (ids[3], ids[4], ids[0]);
    // The fifth node has asked before: it is connected to the stages, and lawfully so.
    swarm.ask(intruder, PROMPT, 3, 5);
    swarm.settle();
    assert_eq!(swarm.tokens(intruder).len(), 5);
    swarm.ask(requester, PROMPT, 11, 40);
    let (mut sent, mut arrived) = (false, false);
    swarm.settle_with(|swarm, to, delivery| {
        let Delivery::Peer { from, frame: PeerFrame::Step { session, position, .. } } = delivery
        else {
            return true;
        };
        if to == first && *from == intruder {
            arrived = true;
        } else if to == first && *position > 0 && !sent {
            // It has learned the session's name, and what is next in it.
            sent = true;
            let sampling = Some(Sampling {
                temperature_milli: 0,
                top_k: 0,
                top_p_milli: 1000,
                repetition_penalty_milli: 1000,
                seed: 0,
            });
            let (session, position, tokens) = (*session, *position + 1, vec![5]);
            let step = PeerFrame::Step { session, position, tokens, sampling };
            swarm.send_frame(intruder, first, &step);
        }
        true
    });
    assert!(arrived, "the forged step came to the first stage");
    assert!(swarm.closed.contains(&(first, intruder)), "which closed that connection");
    assert!(!swarm.closed.contains(&(first, requester)), "and no other");
    assert_eq!(swarm.breaks(requester), Vec::<String>::new());
    let (mut undisturbed, others) = Swarm::new(2, &[(0, 6)]);
    undisturbed.ask(others[1], PROMPT, 11, 40);
    undisturbed.settle();
    assert_eq!(swarm.tokens(requester), undisturbed.tokens(others[1]));
}

#[test]
fn frames_that_overtake_the_servers_word_wait_for_it() {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 2), (2, 4), (4, 6)]);
    swarm.ask(ids[3], PROMPT, 11, 20);
    // Connections exist from here on; the second question's `Serve` to the first stage is held back
    // behind the steps.
    swarm.settle();
    let first_answer = swarm.tokens(ids[3]);
    swarm.notices.clear();
    swarm.ask(ids[3], PROMPT, 11, 20);
    let mut held = None;
    let first = ids[0];
    swarm.settle_with(|_, to, delivery| {
        let is_serve = matches!(
            delivery,
            Delivery::Server(potluck_protocol::server::FromServer::Serve { .. })
        ) && to == first;
        if is_serve && held.is_none() {
            let Delivery::Server(message) = delivery else { unreachable!() };
            held = Some(message.clone());
            return false;
        }
        true
    });
    assert_eq!(swarm.tokens(ids[3]), Vec::<u32>::new(), "nothing can be computed yet");
    swarm.server_says(first, held.unwrap());
    swarm.settle();
    assert_eq!(swarm.tokens(ids[3]), first_answer);
}

#[test]
fn a_frame_of_an_unknown_session_is_forgotten() {
    let (mut swarm, ids) = Swarm::new(2, &[(0, 6)]);
    let session = SessionId([77; 16]);
    swarm.peer_says(
        ids[0],
        ids[1],
        PeerFrame::Step { session, position: 0, tokens: vec![1], sampling: None },
    );
    swarm.settle();
    swarm.pass(std::time::Duration::from_secs(6));
    swarm.ask(ids[1], PROMPT, 1, 5);
    swarm.settle();
    assert_eq!(swarm.tokens(ids[1]).len(), 5);
}
