//! Receipts: signed for what was good for something, handed in one after the other, and not lost
//! because one before them was.

mod harness;

use std::collections::HashMap;
use std::time::Duration;

use harness::{Delivery, Swarm};
use potluck_protocol::id::{NodeId, RequestId, SessionId};
use potluck_protocol::page::Command;
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::server::{FromServer, Verdict};

const PROMPT: &str = "Tell me a story about a fox and a lantern.";

/// Three steps and five receipts of a prompt.
fn long_prompt() -> String {
    "tell me a story about a fox and a lantern. ".repeat(30)
}

#[test]
fn a_prompt_is_signed_for_when_a_token_has_come() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.ask(ids[2], &long_prompt(), 3, 8);
    let (mut proposed, mut signed_early, mut signed) = (0, 0, 0);
    let mut has_token = false;
    swarm.settle_with(|_, to, delivery| {
        match delivery {
            Delivery::Peer { frame: PeerFrame::Token { .. }, .. } if to == ids[2] => {
                has_token = true;
            }
            Delivery::Peer { frame: PeerFrame::ReceiptProposal { .. }, .. } if !has_token => {
                proposed += 1;
            }
            Delivery::Peer { frame: PeerFrame::ReceiptSigned { .. }, .. } if has_token => {
                signed += 1
            }
            Delivery::Peer { frame: PeerFrame::ReceiptSigned { .. }, .. } => signed_early += 1,
            _ => {}
        }
        true
    });
    assert!(proposed >= 4, "{proposed} receipts were proposed before the first token");
    assert_eq!(signed_early, 0);
    assert!(signed >= proposed, "and signed after it: {signed}");
    assert_eq!(swarm.server.receipts.len(), signed);
    assert_eq!(swarm.server.refusals, Vec::<String>::new());
}

#[test]
fn a_prompt_without_a_token_is_not_signed_for() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.ask(ids[2], &long_prompt(), 3, 8);
    let mut proposals = 0;
    swarm.settle_with(|swarm, _, delivery| {
        if let Delivery::Peer { frame: PeerFrame::ReceiptProposal { .. }, .. } = delivery {
            proposals += 1;
            if proposals == 2 {
                swarm.command(ids[2], Command::Cancel { request: RequestId(7) });
            }
        }
        !matches!(delivery, Delivery::Peer { frame: PeerFrame::Token { .. }, .. })
    });
    assert!(proposals >= 2);
    assert_eq!(swarm.server.receipts.len(), 0);
}

/// The server puts everything off, then takes it: one of each session and stage at a time, in order.
#[test]
fn receipts_that_are_put_off_come_again_in_order() {
    for seed in 1..=3 {
        let (mut swarm, ids) = Swarm::seeded(seed, 4, &[(0, 3), (3, 6)]);
        swarm.server.verdict = Some(Verdict::TryAgain);
        swarm.ask(ids[2], PROMPT, 1, 300);
        swarm.ask(ids[3], &long_prompt(), 2, 30);
        let mut in_flight: HashMap<(SessionId, NodeId), u32> = HashMap::new();
        swarm.settle();
        assert_eq!(swarm.server.receipts.len(), 0);
        let firsts = swarm.server.handed_in.iter().all(|(_, _, sequence)| *sequence == 0);
        assert!(firsts, "those after it wait: {:?}", swarm.server.handed_in);
        for _ in 0..4 {
            swarm.pass(Duration::from_secs(10));
        }
        let tries = swarm.server.handed_in.len();
        assert!((4 * 3..4 * 6).contains(&tries), "with growing patience: {tries}");
        swarm.server.verdict = None;
        swarm.pass(Duration::from_secs(60));
        assert_eq!(swarm.server.refusals, Vec::<String>::new(), "seed {seed}");
        for signed in &swarm.server.receipts {
            let receipt = &signed.receipt;
            let next = in_flight.entry((receipt.session, receipt.stage)).or_default();
            assert_eq!(receipt.sequence, *next);
            *next += 1;
        }
        assert_eq!(in_flight.len(), 4, "two sessions of two stages");
        assert!(in_flight.values().all(|receipts| *receipts > 2), "{in_flight:?}");
    }
}

#[test]
fn one_that_is_refused_does_not_take_the_others_with_it() {
    let (mut swarm, ids) = Swarm::new(2, &[(0, 6)]);
    swarm.ask(ids[1], &long_prompt(), 1, 30);
    let mut refused = None;
    swarm.settle_with(|_, to, delivery| {
        let Delivery::Server(FromServer::ReceiptResult { receipt, verdict }) = delivery else {
            return true;
        };
        if to == ids[0] && refused.is_none() {
            refused = Some(*receipt);
            *verdict = Verdict::Refused { reason: "for the test".to_owned() };
        }
        true
    });
    assert!(refused.is_some());
    let handed_in: Vec<u32> =
        swarm.server.handed_in.iter().map(|(_, _, sequence)| *sequence).collect();
    let expected: Vec<u32> = (0..u32::try_from(handed_in.len()).unwrap_or(0)).collect();
    assert!(handed_in.len() > 3);
    assert_eq!(handed_in, expected, "each once, in order");
}
