//! What holds for every message: it reads back as it was, and its bytes, damaged in any way, are
//! refused or read as a message within every documented limit, but never make a decoder panic.
//!
//! Damage begins at valid bytes, because bytes drawn at random die in parsing and never reach the
//! checks behind it.

mod support;

use potluck_protocol::codec::{
    HiddenHeader, decode_from_server, decode_peer_frame, decode_to_server, encode, hidden_header,
};
use potluck_protocol::door::{DOOR_NUMBERS, FromDoor, ToDoor};
use potluck_protocol::grant::GrantedModels;
use potluck_protocol::id::LayerRange;
use potluck_protocol::limits::{
    MAX_BACKEND_BYTES, MAX_CANDIDATE_BYTES, MAX_D_MODEL, MAX_DOOR_BYTES, MAX_EXCLUDED,
    MAX_ICE_SERVERS, MAX_LAYERS, MAX_MODELS, MAX_ORIGIN_BYTES, MAX_POSITIONS, MAX_REASON_BYTES,
    MAX_ROWS, MAX_SDP_BYTES, MAX_STAGES,
};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::receipt::{RECEIPT_POSITIONS, Receipt};
use potluck_protocol::sampling::Sampling;
use potluck_protocol::server::{FromServer, Session, Signal, ToServer, Verdict};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// One way to damage bytes. An [`Index`] scales to however many there are.
#[derive(Clone, Debug)]
enum Damage {
    /// Other bits in one byte.
    Flip { at: Index, bits: u8 },
    /// Only what comes before.
    Cut { at: Index },
    /// Bytes from elsewhere in between; `ff` makes long numbers and huge lengths.
    Insert { at: Index, bytes: Vec<u8> },
}

impl Damage {
    fn apply(&self, message: &mut Vec<u8>) {
        match self {
            Self::Flip { at, bits } => {
                if !message.is_empty() {
                    let at = at.index(message.len());
                    message[at] ^= bits;
                }
            }
            Self::Cut { at } => message.truncate(at.index(message.len() + 1)),
            Self::Insert { at, bytes } => {
                let at = at.index(message.len() + 1);
                message.splice(at..at, bytes.iter().copied());
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = || any::<Index>();
    let byte = prop_oneof![any::<u8>(), Just(0xff), Just(0)];
    prop_oneof![
        4 => (at(), 1..=u8::MAX).prop_map(|(at, bits)| Damage::Flip { at, bits }),
        1 => at().prop_map(|at| Damage::Cut { at }),
        2 => (at(), vec(byte, 1..8)).prop_map(|(at, bytes)| Damage::Insert { at, bytes }),
    ]
}

/// Valid bytes of a message, damaged once to three times.
fn damaged<T: serde::Serialize + std::fmt::Debug>(
    messages: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<u8>> {
    (messages, vec(damage(), 1..=3)).prop_map(|(message, damages)| {
        let mut bytes = encode(&message);
        for damage in damages {
            damage.apply(&mut bytes);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn messages_to_the_server_read_back(message in support::to_server()) {
        prop_assert_eq!(decode_to_server(&encode(&message)), Ok(message));
    }

    #[test]
    fn messages_from_the_server_read_back(message in support::from_server()) {
        prop_assert_eq!(decode_from_server(&encode(&message)), Ok(message));
    }

    #[test]
    fn frames_read_back(frame in support::peer_frame()) {
        prop_assert_eq!(decode_peer_frame(&encode(&frame)), Ok(frame));
    }

    #[test]
    fn damaged_messages_to_the_server_are_refused_or_within_limits(
        bytes in damaged(support::to_server())
    ) {
        if let Ok(message) = decode_to_server(&bytes) {
            assert_to_server_is_within_limits(&message);
        }
    }

    #[test]
    fn damaged_messages_from_the_server_are_refused_or_within_limits(
        bytes in damaged(support::from_server())
    ) {
        if let Ok(message) = decode_from_server(&bytes) {
            assert_from_server_is_within_limits(&message);
        }
    }

    #[test]
    fn damaged_frames_are_refused_or_within_limits(bytes in damaged(support::peer_frame())) {
        if let Ok(frame) = decode_peer_frame(&bytes) {
            assert_frame_is_within_limits(&frame);
        }
    }

    #[test]
    fn the_head_of_hidden_rows_is_what_the_whole_frame_says(frame in support::peer_frame()) {
        let head = hidden_header(&encode(&frame));
        let PeerFrame::Hidden { session, position, rows, values, .. } = frame else {
            prop_assert_eq!(head, None);
            return Ok(());
        };
        let values = u32::try_from(values.len()).unwrap();
        prop_assert_eq!(head, Some(HiddenHeader { session, position, rows, values }));
    }

    #[test]
    fn bytes_drawn_at_random_never_panic(bytes in vec(any::<u8>(), 0..2048)) {
        let _ = decode_to_server(&bytes);
        let _ = decode_from_server(&bytes);
        let _ = decode_peer_frame(&bytes);
        let _ = hidden_header(&bytes);
    }
}

fn assert_to_server_is_within_limits(message: &ToServer) {
    match message {
        ToServer::Prove { origin, .. } => assert!(origin.len() <= MAX_ORIGIN_BYTES),
        ToServer::Register { capabilities, grant, lease } => {
            assert!(capabilities.backend.len() <= MAX_BACKEND_BYTES);
            assert!(grant.grant.to.len() <= MAX_ORIGIN_BYTES);
            if let GrantedModels::These(models) = &grant.grant.models {
                assert!(models.len() <= MAX_MODELS);
            }
            lease.iter().for_each(|signed| assert_are_layers(signed.lease.layers));
        }
        ToServer::LayersReady { layers, .. } => assert_are_layers(*layers),
        ToServer::Ask { exclude, .. } => assert!(exclude.len() <= MAX_EXCLUDED),
        ToServer::AskMiddle { exclude, layers, .. } => {
            assert!(exclude.len() <= MAX_EXCLUDED);
            assert_are_layers(*layers);
        }
        ToServer::EndSession { reason, .. } => assert!(reason.len() <= MAX_REASON_BYTES),
        ToServer::Signal { signal, .. } => assert_signal_is_within_limits(&signal.signal),
        ToServer::Receipt { receipt, ticket } => {
            assert_receipt_is_within_limits(&receipt.receipt);
            assert_are_layers(ticket.ticket.layers);
        }
        ToServer::Pace { percent } => assert!(*percent <= 100),
        ToServer::Door(
            ToDoor::Open { hello: bytes }
            | ToDoor::Knock { knock: bytes, .. }
            | ToDoor::Answer { sealed: bytes, .. },
        ) => assert!(bytes.len() <= MAX_DOOR_BYTES),
        ToServer::Hello { .. }
        | ToServer::Deregister
        | ToServer::Cancel { .. }
        | ToServer::Door(ToDoor::Try { .. } | ToDoor::Close { .. })
        | ToServer::Report(_)
        | ToServer::Heartbeat => {}
    }
}

fn assert_from_server_is_within_limits(message: &FromServer) {
    match message {
        FromServer::IceServers { ice_servers } => assert!(ice_servers.len() <= MAX_ICE_SERVERS),
        FromServer::Welcome { ice_servers, models, .. } => {
            assert!(ice_servers.len() <= MAX_ICE_SERVERS && models.len() <= MAX_MODELS);
            for model in models {
                assert!(model.layers <= MAX_LAYERS && model.name.len() <= MAX_REASON_BYTES);
            }
        }
        FromServer::Assign { model, lease } => lease.iter().for_each(|signed| {
            assert_are_layers(signed.lease.layers);
            assert_eq!(signed.lease.model, *model);
        }),
        FromServer::Waiting { missing, .. } => {
            assert!(missing.len() <= MAX_STAGES);
            missing.iter().copied().for_each(assert_are_layers);
        }
        FromServer::Route { session, .. } => assert_is_a_route(session),
        FromServer::Serve { session, ticket } => {
            assert_is_a_route(session);
            assert_are_layers(ticket.ticket.layers);
            assert_eq!(ticket.ticket.session, session.id);
        }
        FromServer::SessionEnded { reason, .. }
        | FromServer::Refused { reason, .. }
        | FromServer::RequestRefused { reason, .. }
        | FromServer::LendingRefused { reason }
        | FromServer::ReceiptResult { verdict: Verdict::Refused { reason }, .. } => {
            assert!(reason.len() <= MAX_REASON_BYTES);
        }
        FromServer::Signal { signal, .. } => assert_signal_is_within_limits(&signal.signal),
        FromServer::Door(
            FromDoor::Hello { hello: bytes, .. }
            | FromDoor::Knocked { knock: bytes, .. }
            | FromDoor::Answered { sealed: bytes, .. },
        ) => assert!(bytes.len() <= MAX_DOOR_BYTES),
        FromServer::Door(FromDoor::Opened { door }) => assert!(DOOR_NUMBERS.contains(door)),
        FromServer::Door(FromDoor::Passed { .. } | FromDoor::Closed { .. })
        | FromServer::Challenge { .. }
        | FromServer::ReceiptResult { .. }
        | FromServer::Heartbeat => {}
    }
}

fn assert_frame_is_within_limits(frame: &PeerFrame) {
    match frame {
        PeerFrame::Step { position, tokens, sampling, .. } => {
            assert_are_rows(*position, tokens.len());
            assert!(sampling.is_none_or(|sampling| sampling.is_valid()));
        }
        PeerFrame::Hidden { position, rows, values, sampling, .. } => {
            let rows = *rows as usize;
            assert_are_rows(*position, rows);
            assert_eq!(values.len() % rows, 0);
            assert!((1..=MAX_D_MODEL).contains(&(values.len() / rows)));
            assert!(sampling.is_none_or(|sampling: Sampling| sampling.is_valid()));
        }
        PeerFrame::Token { position, .. } => assert!(*position <= MAX_POSITIONS),
        PeerFrame::ReceiptProposal { receipt, .. } => assert_receipt_is_within_limits(receipt),
        PeerFrame::Window { rows, .. } => assert!((1..=MAX_POSITIONS).contains(rows)),
        PeerFrame::Seen { tokens, .. } => {
            assert!((1..=MAX_POSITIONS as usize).contains(&tokens.len()));
            assert!(tokens.windows(2).all(|pair| pair[0] < pair[1]));
        }
        PeerFrame::Failed { reason, .. } => assert!(reason.len() <= MAX_REASON_BYTES),
        PeerFrame::ReceiptSigned { .. }
        | PeerFrame::End { .. }
        | PeerFrame::Ping { .. }
        | PeerFrame::Pong { .. } => {}
    }
}

fn assert_are_layers(range: LayerRange) {
    assert!(range.first < range.end && range.end <= MAX_LAYERS, "{range:?}");
}

fn assert_are_rows(position: u32, rows: usize) {
    assert!((1..=MAX_ROWS).contains(&rows));
    assert!(position as usize + rows <= MAX_POSITIONS as usize);
}

fn assert_is_a_route(session: &Session) {
    assert!((1..=MAX_STAGES).contains(&session.stages.len()));
    assert_eq!(session.epochs.len(), session.stages.len() + 1);
    session.stages.iter().for_each(|stage| assert_are_layers(stage.layers));
    for pair in session.stages.windows(2) {
        assert_eq!(pair[0].layers.end, pair[1].layers.first);
    }
}

fn assert_signal_is_within_limits(signal: &Signal) {
    match signal {
        Signal::Offer { sdp } | Signal::Answer { sdp } => assert!(sdp.len() <= MAX_SDP_BYTES),
        Signal::Candidate { candidate, sdp_mid, .. } => {
            assert!(candidate.len() <= MAX_CANDIDATE_BYTES);
            assert!(sdp_mid.as_ref().is_none_or(|mid| mid.len() <= MAX_CANDIDATE_BYTES));
        }
    }
}

fn assert_receipt_is_within_limits(receipt: &Receipt) {
    assert_are_layers(receipt.layers);
    assert!(receipt.from_position < receipt.to_position);
    assert!(receipt.to_position <= MAX_POSITIONS);
    assert!((1..=RECEIPT_POSITIONS).contains(&receipt.positions()));
    assert!(receipt.sampled <= receipt.positions());
}
