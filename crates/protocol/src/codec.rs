//! Reads what comes from outside, and refuses whatever is over a [limit](crate::limits).
//!
//! A decoder checks the whole length first, then parses, then checks every count and range, so that
//! whoever handles a message need not. What it does not know (is this session mine? is the position
//! next?) is checked where that is known.

use serde::de::DeserializeOwned;

use crate::door::{DOOR_NUMBERS, FromDoor, ToDoor};
pub use crate::encoding::encode;
use crate::grant::{GrantedModels, SignedGrant};
use crate::id::{LayerRange, SessionId};
use crate::lease::SignedLease;
pub use crate::limits::*;
use crate::peer::PeerFrame;
use crate::receipt::{RECEIPT_POSITIONS, Receipt, SignedReceipt};
use crate::server::{FromServer, Session, Signal, ToServer, Verdict};
use crate::ticket::SignedTicket;

/// A message from outside was refused. Nothing of it was used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are more than such a message may have; they were not parsed.
    #[error("message of {got} bytes, at most {limit} allowed")]
    TooLong {
        /// The limit.
        limit: usize,
        /// The length.
        got: usize,
    },
    /// Not a message of this kind, cut short, or with bytes left over.
    #[error("malformed message")]
    Malformed,
    /// A field is out of its range.
    #[error("{field} out of range: {got}, at most {limit} allowed")]
    OutOfRange {
        /// Name of the field, for people.
        field: &'static str,
        /// The limit.
        limit: u64,
        /// The value.
        got: u64,
    },
    /// Fields contradict each other.
    #[error("inconsistent {what}")]
    Inconsistent {
        /// What does not fit together.
        what: &'static str,
    },
}

/// Reads a message to the server.
///
/// # Errors
/// If it is too long, malformed, or a field is out of range.
pub fn decode_to_server(bytes: &[u8]) -> Result<ToServer, DecodeError> {
    let message: ToServer = decode(bytes, MAX_SERVER_MESSAGE_BYTES)?;
    match &message {
        ToServer::Prove { origin, .. } => at_most("origin", origin.len(), MAX_ORIGIN_BYTES)?,
        ToServer::Register { capabilities, grant, lease } => {
            at_most("backend name", capabilities.backend.len(), MAX_BACKEND_BYTES)?;
            check_grant(grant)?;
            lease.as_ref().map_or(Ok(()), check_lease)?;
        }
        ToServer::LayersReady { layers, .. } => check_layers(*layers)?,
        ToServer::Ask { exclude, .. } => at_most("nodes to exclude", exclude.len(), MAX_EXCLUDED)?,
        ToServer::AskMiddle { exclude, layers, .. } => {
            at_most("nodes to exclude", exclude.len(), MAX_EXCLUDED)?;
            check_layers(*layers)?;
        }
        ToServer::EndSession { reason, .. } => at_most("reason", reason.len(), MAX_REASON_BYTES)?,
        ToServer::Signal { signal, .. } => check_signal(&signal.signal)?,
        ToServer::Receipt { receipt, ticket } => {
            check_receipt(&receipt.receipt)?;
            check_ticket(ticket)?;
        }
        ToServer::Pace { percent } => at_most("pace", usize::from(*percent), 100)?,
        ToServer::Door(
            ToDoor::Open { hello: bytes }
            | ToDoor::Knock { knock: bytes, .. }
            | ToDoor::Answer { sealed: bytes, .. },
        ) => at_most("what is said at a door", bytes.len(), MAX_DOOR_BYTES)?,
        ToServer::Hello { .. }
        | ToServer::Deregister
        | ToServer::Cancel { .. }
        | ToServer::Door(ToDoor::Try { .. } | ToDoor::Close { .. })
        | ToServer::Report(_)
        | ToServer::Heartbeat => {}
    }
    Ok(message)
}

/// Reads a message from the server.
///
/// # Errors
/// If it is too long, malformed, or a field is out of range.
pub fn decode_from_server(bytes: &[u8]) -> Result<FromServer, DecodeError> {
    let message: FromServer = decode(bytes, MAX_SERVER_MESSAGE_BYTES)?;
    match &message {
        FromServer::IceServers { ice_servers } => {
            at_most("ice servers", ice_servers.len(), MAX_ICE_SERVERS)?;
        }
        FromServer::Welcome { ice_servers, models, heartbeat_ms: _ } => {
            at_most("ice servers", ice_servers.len(), MAX_ICE_SERVERS)?;
            at_most("models", models.len(), MAX_MODELS)?;
            for model in models {
                at_most("model name", model.name.len(), MAX_REASON_BYTES)?;
                at_most("layers", model.layers as usize, MAX_LAYERS as usize)?;
            }
        }
        FromServer::Assign { model, lease } => {
            lease.as_ref().map_or(Ok(()), check_lease)?;
            if lease.as_ref().is_some_and(|signed| signed.lease.model != *model) {
                return Err(DecodeError::Inconsistent { what: "model of a lease" });
            }
        }
        FromServer::Waiting { missing, .. } => {
            at_most("missing ranges", missing.len(), MAX_STAGES)?;
            missing.iter().try_for_each(|range| check_layers(*range))?;
        }
        FromServer::Route { session, .. } => check_session(session)?,
        FromServer::Serve { session, ticket } => {
            check_session(session)?;
            check_ticket(ticket)?;
            if ticket.ticket.session != session.id {
                return Err(DecodeError::Inconsistent { what: "session of a ticket" });
            }
        }
        FromServer::SessionEnded { reason, .. }
        | FromServer::Refused { reason, .. }
        | FromServer::RequestRefused { reason, .. }
        | FromServer::LendingRefused { reason }
        | FromServer::ReceiptResult { verdict: Verdict::Refused { reason }, .. } => {
            at_most("reason", reason.len(), MAX_REASON_BYTES)?;
        }
        FromServer::Signal { signal, .. } => check_signal(&signal.signal)?,
        FromServer::Door(
            FromDoor::Hello { hello: bytes, .. }
            | FromDoor::Knocked { knock: bytes, .. }
            | FromDoor::Answered { sealed: bytes, .. },
        ) => at_most("what is said at a door", bytes.len(), MAX_DOOR_BYTES)?,
        FromServer::Door(FromDoor::Opened { door }) => {
            if !DOOR_NUMBERS.contains(door) {
                return Err(DecodeError::Inconsistent { what: "number of a door" });
            }
        }
        FromServer::Door(FromDoor::Passed { .. } | FromDoor::Closed { .. })
        | FromServer::Challenge { .. }
        | FromServer::ReceiptResult { .. }
        | FromServer::Heartbeat => {}
    }
    Ok(message)
}

/// Reads a receipt as the ledger keeps it.
///
/// # Errors
/// If it is too long, malformed, or a field is out of range.
pub fn decode_receipt(bytes: &[u8]) -> Result<SignedReceipt, DecodeError> {
    let signed: SignedReceipt = decode(bytes, MAX_SERVER_MESSAGE_BYTES)?;
    check_receipt(&signed.receipt)?;
    Ok(signed)
}

/// Reads a frame from a peer.
///
/// # Errors
/// If it is too long, malformed, or a field is out of range.
pub fn decode_peer_frame(bytes: &[u8]) -> Result<PeerFrame, DecodeError> {
    let frame: PeerFrame = decode(bytes, MAX_PEER_FRAME_BYTES)?;
    match &frame {
        PeerFrame::Step { position, tokens, sampling, .. } => {
            check_rows(*position, tokens.len())?;
            check_sampling(sampling.as_ref())?;
        }
        PeerFrame::Hidden { position, rows, values, sampling, .. } => {
            let rows = *rows as usize;
            check_rows(*position, rows)?;
            check_sampling(sampling.as_ref())?;
            if values.is_empty() || values.len() % rows != 0 {
                return Err(DecodeError::Inconsistent { what: "rows and values" });
            }
            at_most("row width", values.len() / rows, MAX_D_MODEL)?;
        }
        PeerFrame::Token { position, .. } => {
            at_most("position", *position as usize, MAX_POSITIONS as usize)?
        }
        PeerFrame::ReceiptProposal { receipt, .. } => check_receipt(receipt)?,
        PeerFrame::ReceiptSigned { .. }
        | PeerFrame::End { .. }
        | PeerFrame::Ping { .. }
        | PeerFrame::Pong { .. } => {}
        PeerFrame::Failed { reason, .. } => at_most("reason", reason.len(), MAX_REASON_BYTES)?,
        PeerFrame::Window { rows, .. } => {
            if *rows == 0 {
                return Err(DecodeError::Inconsistent { what: "window without rows" });
            }
            at_most("window", *rows as usize, MAX_POSITIONS as usize)?;
        }
        PeerFrame::Seen { tokens, .. } => {
            at_most("tokens seen", tokens.len(), MAX_POSITIONS as usize)?;
            if tokens.is_empty() || !tokens.is_sorted_by(|one, next| one < next) {
                return Err(DecodeError::Inconsistent { what: "tokens seen" });
            }
        }
    }
    Ok(frame)
}

/// The head of a [`PeerFrame::Hidden`]: what must be checked before its values are worth decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct HiddenHeader {
    /// The session.
    pub session: SessionId,
    /// Position of the first row.
    pub position: u32,
    /// How many rows it says it has.
    pub rows: u32,
    /// How many values it says it has.
    pub values: u32,
}

/// The head of a hidden frame, without a single value decoded; `None` of any other frame, and of one
/// that is cut short. Nothing of it is checked.
#[must_use]
pub fn hidden_header(bytes: &[u8]) -> Option<HiddenHeader> {
    // A vector is its length and then its values, and a variant's number comes before its fields.
    let (variant, rest) = postcard::take_from_bytes::<u32>(bytes).ok()?;
    if variant != HIDDEN_VARIANT {
        return None;
    }
    postcard::take_from_bytes::<HiddenHeader>(rest).ok().map(|(header, _)| header)
}

/// The place of [`PeerFrame::Hidden`] among its siblings, which is its number on the wire.
const HIDDEN_VARIANT: u32 = 1;

/// Cuts a sentence for people to what a message may hold, at a character's edge.
#[must_use]
pub fn clip_reason(reason: &str) -> String {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}

fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, DecodeError> {
    if bytes.len() > limit {
        return Err(DecodeError::TooLong { limit, got: bytes.len() });
    }
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(DecodeError::Malformed),
    }
}

fn at_most(field: &'static str, got: usize, limit: usize) -> Result<(), DecodeError> {
    if got > limit {
        return Err(DecodeError::OutOfRange { field, limit: limit as u64, got: got as u64 });
    }
    Ok(())
}

fn check_layers(range: LayerRange) -> Result<(), DecodeError> {
    if range.is_empty() {
        return Err(DecodeError::Inconsistent { what: "layer range" });
    }
    at_most("layers", range.end as usize, MAX_LAYERS as usize)
}

fn check_rows(position: u32, rows: usize) -> Result<(), DecodeError> {
    if rows == 0 {
        return Err(DecodeError::Inconsistent { what: "step without rows" });
    }
    at_most("rows", rows, MAX_ROWS)?;
    at_most("position", position as usize + rows, MAX_POSITIONS as usize)
}

fn check_sampling(sampling: Option<&crate::sampling::Sampling>) -> Result<(), DecodeError> {
    if sampling.is_some_and(|sampling| !sampling.is_valid()) {
        return Err(DecodeError::Inconsistent { what: "sampling parameters" });
    }
    Ok(())
}

fn check_signal(signal: &Signal) -> Result<(), DecodeError> {
    match signal {
        Signal::Offer { sdp } | Signal::Answer { sdp } => {
            at_most("session description", sdp.len(), MAX_SDP_BYTES)
        }
        Signal::Candidate { candidate, sdp_mid, .. } => {
            at_most("candidate", candidate.len(), MAX_CANDIDATE_BYTES)?;
            at_most("sdp mid", sdp_mid.as_ref().map_or(0, String::len), MAX_CANDIDATE_BYTES)
        }
    }
}

fn check_session(session: &Session) -> Result<(), DecodeError> {
    at_most("stages", session.stages.len(), MAX_STAGES)?;
    if session.epochs.len() != session.stages.len() + 1 {
        return Err(DecodeError::Inconsistent { what: "epochs of a route" });
    }
    // Not always from the first layer: a requester may compute the ends itself.
    let Some(first) = session.stages.first() else {
        return Err(DecodeError::Inconsistent { what: "route without stages" });
    };
    let mut next = first.layers.first;
    for stage in &session.stages {
        check_layers(stage.layers)?;
        if stage.layers.first != next {
            return Err(DecodeError::Inconsistent { what: "stages of a route" });
        }
        next = stage.layers.end;
    }
    Ok(())
}

fn check_lease(signed: &SignedLease) -> Result<(), DecodeError> {
    check_layers(signed.lease.layers)
}

/// Lengths only: what a grant says is judged, in a sentence for people, by whoever acts on it.
fn check_grant(signed: &SignedGrant) -> Result<(), DecodeError> {
    at_most("origin", signed.grant.to.len(), MAX_ORIGIN_BYTES)?;
    match &signed.grant.models {
        GrantedModels::All => Ok(()),
        GrantedModels::These(models) => at_most("models", models.len(), MAX_MODELS),
    }
}

fn check_ticket(signed: &SignedTicket) -> Result<(), DecodeError> {
    check_layers(signed.ticket.layers)
}

fn check_receipt(receipt: &Receipt) -> Result<(), DecodeError> {
    check_layers(receipt.layers)?;
    at_most("position", receipt.to_position as usize, MAX_POSITIONS as usize)?;
    if receipt.positions() == 0 || receipt.sampled > receipt.positions() {
        return Err(DecodeError::Inconsistent { what: "positions of a receipt" });
    }
    at_most("receipt positions", receipt.positions() as usize, RECEIPT_POSITIONS as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{NodeId, SessionId};
    use crate::sampling::Sampling;

    fn hidden(rows: u32, values: Vec<i32>) -> PeerFrame {
        PeerFrame::Hidden { session: SessionId([1; 16]), position: 3, rows, values, sampling: None }
    }

    #[test]
    fn frames_read_back() {
        let frame = hidden(2, vec![i32::MIN, -1, 0, i32::MAX]);
        assert_eq!(decode_peer_frame(&encode(&frame)), Ok(frame));
    }

    #[test]
    fn the_head_of_hidden_rows_is_read_without_their_values() {
        let bytes = encode(&hidden(2, vec![i32::MIN, -1, 0, i32::MAX]));
        let header = HiddenHeader { session: SessionId([1; 16]), position: 3, rows: 2, values: 4 };
        assert_eq!(hidden_header(&bytes), Some(header));
        // Whatever follows the head, or nothing at all: the head is what it says.
        assert_eq!(hidden_header(&bytes[..20]), Some(header));
        assert_eq!(hidden_header(&[&bytes[..20], &[0xff; 40]].concat()), Some(header));
        assert_eq!(hidden_header(&bytes[..17]), None);
        let end = PeerFrame::End { session: SessionId([1; 16]), keeps: false };
        assert_eq!(hidden_header(&encode(&end)), None);
    }

    #[test]
    fn rows_that_do_not_divide_the_values_are_refused() {
        assert_eq!(
            decode_peer_frame(&encode(&hidden(3, vec![0; 4]))),
            Err(DecodeError::Inconsistent { what: "rows and values" })
        );
        assert!(decode_peer_frame(&encode(&hidden(0, vec![]))).is_err());
    }

    #[test]
    fn too_many_rows_are_refused() {
        let frame = PeerFrame::Step {
            session: SessionId([1; 16]),
            position: 0,
            tokens: vec![0; MAX_ROWS + 1],
            sampling: None,
        };
        assert!(matches!(
            decode_peer_frame(&encode(&frame)),
            Err(DecodeError::OutOfRange { field: "rows", .. })
        ));
    }

    #[test]
    fn the_widest_frame_fits_its_limit() {
        let frame =
            hidden(u32::try_from(MAX_ROWS).unwrap(), vec![i32::MIN; MAX_ROWS * MAX_D_MODEL]);
        assert!(encode(&frame).len() <= MAX_PEER_FRAME_BYTES);
    }

    #[test]
    fn bad_sampling_is_refused() {
        let right = Sampling {
            temperature_milli: 700,
            top_k: 0,
            top_p_milli: 950,
            repetition_penalty_milli: 1100,
            seed: 0,
        };
        let read = |sampling| {
            let (session, tokens) = (SessionId([1; 16]), vec![1]);
            let sampling = Some(sampling);
            let frame = PeerFrame::Step { session, position: 0, tokens, sampling };
            decode_peer_frame(&encode(&frame))
        };
        assert!(read(right).is_ok());
        assert!(read(Sampling { temperature_milli: 1, ..right }).is_err());
        for repetition_penalty_milli in [0, 499, 2001, u32::MAX] {
            assert!(read(Sampling { repetition_penalty_milli, ..right }).is_err());
        }
    }

    #[test]
    fn tokens_seen_come_once_in_order_and_not_without_end() {
        let read = |tokens| {
            decode_peer_frame(&encode(&PeerFrame::Seen { session: SessionId([1; 16]), tokens }))
        };
        assert!(read((0..MAX_POSITIONS).collect()).is_ok());
        assert!(matches!(
            read((0..=MAX_POSITIONS).collect()),
            Err(DecodeError::OutOfRange { field: "tokens seen", .. })
        ));
        for wrong in [vec![], vec![3, 3], vec![3, 2], vec![1, 2, u32::MAX, 5]] {
            assert_eq!(read(wrong), Err(DecodeError::Inconsistent { what: "tokens seen" }));
        }
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let mut bytes =
            encode(&ToServer::Hello { protocol: 1, numerics: 1, node: NodeId([0; 32]) });
        bytes.push(0);
        assert_eq!(decode_to_server(&bytes), Err(DecodeError::Malformed));
    }

    #[test]
    fn long_messages_are_refused_before_they_are_parsed() {
        let bytes = vec![0xff; MAX_SERVER_MESSAGE_BYTES + 1];
        assert!(matches!(decode_to_server(&bytes), Err(DecodeError::TooLong { .. })));
    }

    #[test]
    fn clipping_keeps_whole_characters() {
        assert_eq!(clip_reason(&"é".repeat(400)).len(), MAX_REASON_BYTES);
        assert_eq!(clip_reason("short"), "short");
    }
}
