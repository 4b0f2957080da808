//! Any valid message, for the codec's property tests: every variant, every field over its whole
//! range, lists up to their limits.

use potluck_protocol::door::{DOOR_NUMBERS, DoorEnd, FromDoor, ToDoor};
use potluck_protocol::grant::{Grant, GrantedModels, Limits, Place, Power, SignedGrant};
use potluck_protocol::id::{
    Epoch, GrantId, LayerRange, ModelId, NodeId, RequestId, SessionId, SiteKey,
};
use potluck_protocol::identity::Signature;
use potluck_protocol::invitation::{RoomEntry, RoomTicket};
use potluck_protocol::lease::{Lease, SignedLease};
use potluck_protocol::limits::{
    MAX_BACKEND_BYTES, MAX_CANDIDATE_BYTES, MAX_D_MODEL, MAX_DOOR_BYTES, MAX_EXCLUDED,
    MAX_ICE_SERVERS, MAX_LAYERS, MAX_MODELS, MAX_ORIGIN_BYTES, MAX_POSITIONS, MAX_REASON_BYTES,
    MAX_ROWS, MAX_SDP_BYTES, MAX_STAGES,
};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::receipt::{RECEIPT_POSITIONS, Receipt, ReceiptId, SignedReceipt};
use potluck_protocol::room::{ModelTag, RoomPass};
use potluck_protocol::sampling::{
    MAX_REPETITION_PENALTY_MILLI, MAX_TEMPERATURE_MILLI, MIN_REPETITION_PENALTY_MILLI,
    MIN_TEMPERATURE_MILLI, Sampling,
};
use potluck_protocol::server::{
    Capabilities, FromServer, IceServer, ModelSummary, NodeKind, Report, Session, Signal,
    SignedSignal, Stage, ToServer, Verdict,
};
use potluck_protocol::ticket::{SignedTicket, Ticket};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Values of a `Hidden` frame beyond which the tests would only get slower.
const MAX_VALUES: usize = 4096;

pub(crate) fn to_server() -> impl Strategy<Value = ToServer> {
    prop_oneof![
        (any::<u16>(), any::<u16>(), node())
            .prop_map(|(protocol, numerics, node)| ToServer::Hello { protocol, numerics, node }),
        (text(MAX_ORIGIN_BYTES), signature(), option::of(room_entry().prop_map(Box::new)))
            .prop_map(|(origin, signature, room)| ToServer::Prove { origin, signature, room }),
        (capabilities(), signed_grant(), option::of(model().prop_flat_map(signed_lease))).prop_map(
            |(capabilities, grant, lease)| {
                ToServer::Register { capabilities, grant: Box::new(grant), lease }
            }
        ),
        Just(ToServer::Deregister),
        (model(), layers()).prop_map(|(model, layers)| ToServer::LayersReady { model, layers }),
        (request(), model(), vec(node(), 0..=MAX_EXCLUDED), option::of(session_id())).prop_map(
            |(request, model, exclude, continues)| ToServer::Ask {
                request,
                model,
                exclude,
                continues
            }
        ),
        request().prop_map(|request| ToServer::Cancel { request }),
        (session_id(), text(MAX_REASON_BYTES), option::of(node()), any::<bool>()).prop_map(
            |(session, reason, failed_node, keeps)| {
                ToServer::EndSession { session, reason, failed_node, keeps }
            }
        ),
        (node(), signed_signal()).prop_map(|(to, signal)| ToServer::Signal { to, signal }),
        (receipt(), signature(), signature(), session_id().prop_flat_map(signed_ticket)).prop_map(
            |(receipt, stage_signature, requester_signature, ticket)| {
                let receipt = SignedReceipt { receipt, stage_signature, requester_signature };
                ToServer::Receipt { receipt: Box::new(receipt), ticket: Box::new(ticket) }
            }
        ),
        (any::<u64>(), any::<u32>()).prop_map(|(tokens, us_per_token_p50)| {
            ToServer::Report(Report { tokens, us_per_token_p50 })
        }),
        Just(ToServer::Heartbeat),
        (0..=100_u8).prop_map(|percent| ToServer::Pace { percent }),
        to_door().prop_map(ToServer::Door),
        (request(), model(), vec(node(), 0..=MAX_EXCLUDED), layers(), option::of(session_id()))
            .prop_map(|(request, model, exclude, layers, continues)| {
                ToServer::AskMiddle { request, model, exclude, layers, continues }
            }),
    ]
}

pub(crate) fn from_server() -> impl Strategy<Value = FromServer> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(|nonce| FromServer::Challenge { nonce }),
        (
            vec(ice_server(), 0..=MAX_ICE_SERVERS),
            vec(model_summary(), 0..=MAX_MODELS),
            any::<u32>()
        )
            .prop_map(|(ice_servers, models, heartbeat_ms)| FromServer::Welcome {
                ice_servers,
                models,
                heartbeat_ms
            }),
        model()
            .prop_flat_map(|model| (Just(model), option::of(signed_lease(model))))
            .prop_map(|(model, lease)| FromServer::Assign { model, lease }),
        (request(), vec(layers(), 0..=MAX_STAGES))
            .prop_map(|(request, missing)| FromServer::Waiting { request, missing }),
        (request(), session())
            .prop_map(|(request, session)| FromServer::Route { request, session }),
        session()
            .prop_flat_map(|session| (signed_ticket(session.id), Just(session)))
            .prop_map(|(ticket, session)| FromServer::Serve { session, ticket: Box::new(ticket) }),
        (session_id(), text(MAX_REASON_BYTES), option::of(node())).prop_map(
            |(session, reason, failed_node)| FromServer::SessionEnded {
                session,
                reason,
                failed_node
            }
        ),
        (node(), signed_signal()).prop_map(|(from, signal)| FromServer::Signal { from, signal }),
        (receipt_id(), verdict())
            .prop_map(|(receipt, verdict)| FromServer::ReceiptResult { receipt, verdict }),
        (text(MAX_REASON_BYTES), option::of(any::<u32>()))
            .prop_map(|(reason, retry_after_ms)| FromServer::Refused { reason, retry_after_ms }),
        (request(), text(MAX_REASON_BYTES))
            .prop_map(|(request, reason)| FromServer::RequestRefused { request, reason }),
        Just(FromServer::Heartbeat),
        vec(ice_server(), 0..=MAX_ICE_SERVERS)
            .prop_map(|ice_servers| FromServer::IceServers { ice_servers }),
        text(MAX_REASON_BYTES).prop_map(|reason| FromServer::LendingRefused { reason }),
        from_door().prop_map(FromServer::Door),
    ]
}

pub(crate) fn peer_frame() -> impl Strategy<Value = PeerFrame> {
    prop_oneof![
        (session_id(), vec(any::<u32>(), 1..=MAX_ROWS), option::of(sampling()))
            .prop_flat_map(|(session, tokens, sampling)| {
                let position = 0..=MAX_POSITIONS - count(tokens.len());
                (Just(session), position, Just(tokens), Just(sampling))
            })
            .prop_map(|(session, position, tokens, sampling)| PeerFrame::Step {
                session,
                position,
                tokens,
                sampling
            }),
        (session_id(), 1..=MAX_ROWS, option::of(sampling()))
            .prop_flat_map(|(session, rows, sampling)| {
                let width = 1..=(MAX_VALUES / rows).min(MAX_D_MODEL);
                let values = width.prop_flat_map(move |width| vec(any::<i32>(), rows * width));
                let rows = count(rows);
                (Just(session), 0..=MAX_POSITIONS - rows, Just(rows), values, Just(sampling))
            })
            .prop_map(|(session, position, rows, values, sampling)| PeerFrame::Hidden {
                session,
                position,
                rows,
                values,
                sampling
            }),
        (session_id(), 0..=MAX_POSITIONS, any::<u32>())
            .prop_map(|(session, position, token)| PeerFrame::Token { session, position, token }),
        (receipt(), signature())
            .prop_map(|(receipt, signature)| PeerFrame::ReceiptProposal { receipt, signature }),
        (receipt_id(), signature())
            .prop_map(|(receipt, signature)| PeerFrame::ReceiptSigned { receipt, signature }),
        (session_id(), any::<bool>())
            .prop_map(|(session, keeps)| PeerFrame::End { session, keeps }),
        session_id().prop_map(|session| PeerFrame::Ping { session }),
        session_id().prop_map(|session| PeerFrame::Pong { session }),
        (session_id(), text(MAX_REASON_BYTES), option::of(node())).prop_map(
            |(session, reason, failed_node)| PeerFrame::Failed { session, reason, failed_node }
        ),
        (session_id(), 1..=MAX_POSITIONS)
            .prop_map(|(session, rows)| PeerFrame::Window { session, rows }),
        (session_id(), proptest::collection::btree_set(any::<u32>(), 1..300)).prop_map(
            |(session, tokens)| {
                PeerFrame::Seen { session, tokens: tokens.into_iter().collect() }
            }
        ),
    ]
}

/// A route over contiguous layers from 0.
pub(crate) fn session() -> impl Strategy<Value = Session> {
    // From the first layer on, or from a later one.
    let cuts = proptest::collection::btree_set(0..=MAX_LAYERS, 2..=MAX_STAGES.min(41));
    (session_id(), model(), node(), cuts)
        .prop_flat_map(|(id, model, requester, cuts)| {
            let starts = cuts.iter().copied();
            let ends = cuts.iter().copied().skip(1);
            let ranges: Vec<LayerRange> =
                starts.zip(ends).map(|(first, end)| LayerRange { first, end }).collect();
            let count = ranges.len();
            let nodes = vec(node(), count);
            let epochs = vec(any::<u64>(), count + 1);
            (Just((id, model, requester, ranges)), nodes, epochs, option::of(session_id()))
        })
        .prop_map(|((id, model, requester, ranges), nodes, epochs, continues)| Session {
            id,
            model,
            requester,
            stages: nodes
                .into_iter()
                .zip(ranges)
                .map(|(node, layers)| Stage { node, layers })
                .collect(),
            epochs: epochs.into_iter().map(Epoch).collect(),
            continues,
        })
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    (kind(), text(MAX_BACKEND_BYTES), any::<u64>(), any::<u64>()).prop_map(
        |(kind, backend, memory_bytes, macs_per_ms)| Capabilities {
            kind,
            backend,
            memory_bytes,
            macs_per_ms,
        },
    )
}

fn signed_grant() -> impl Strategy<Value = SignedGrant> {
    let place = prop_oneof![
        Just(Place::Page),
        any::<[u8; 16]>().prop_map(|site| Place::Widget { site: SiteKey(site) }),
        Just(Place::Native),
    ];
    let models = prop_oneof![
        Just(GrantedModels::All),
        vec(model(), 0..=MAX_MODELS).prop_map(GrantedModels::These),
    ];
    let names = (any::<[u8; 16]>(), node(), text(MAX_ORIGIN_BYTES));
    let times = (any::<u64>(), any::<u64>());
    (names, place, models, granted_limits(), times, signature()).prop_map(
        |((id, node, to), place, models, limits, (given_s, until_s), signature)| {
            let id = GrantId(id);
            let grant = Grant { id, node, to, place, models, limits, given_s, until_s };
            SignedGrant { grant, signature }
        },
    )
}

fn granted_limits() -> impl Strategy<Value = Limits> {
    let power = prop_oneof![Just(Power::Any), Just(Power::MainsOnly)];
    let when = (power, any::<[bool; 3]>(), option::of(any::<u32>()));
    (any::<[u8; 2]>(), any::<[u64; 2]>(), when).prop_map(
        |(percents, amounts, (power, [when_hidden, on_metered, on_phone], minutes))| Limits {
            processor_percent: percents[0],
            gpu_percent: percents[1],
            memory_bytes: amounts[0],
            data_bytes_a_day: amounts[1],
            power,
            when_hidden,
            on_metered,
            on_phone,
            minutes,
        },
    )
}

fn signed_lease(model: ModelId) -> impl Strategy<Value = SignedLease> {
    (node(), layers(), any::<u64>(), signature()).prop_map(
        move |(node, layers, until_s, signature)| SignedLease {
            lease: Lease { node, model, layers, until_s },
            signature,
        },
    )
}

fn signed_ticket(session: SessionId) -> impl Strategy<Value = SignedTicket> {
    let names = (model(), node(), node());
    let says = (any::<bool>(), any::<bool>());
    (names, layers(), any::<u64>(), any::<u64>(), says, signature()).prop_map(
        move |((model, requester, stage), layers, opened_ms, until_s, says, signature)| {
            let (earns, continues) = says;
            let ticket = Ticket {
                session,
                model,
                requester,
                stage,
                layers,
                opened_ms,
                until_s,
                earns,
                continues,
            };
            SignedTicket { ticket, signature }
        },
    )
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let positions = (1..=RECEIPT_POSITIONS).prop_flat_map(|count| {
        (0..=MAX_POSITIONS - count, 0..=count)
            .prop_map(move |(from, sampled)| (from, from + count, sampled))
    });
    let names = (session_id(), model(), node(), node());
    (names, layers(), any::<u32>(), positions, any::<[u8; 32]>()).prop_map(
        |((session, model, stage, requester), layers, sequence, positions, output_hash)| {
            let (from_position, to_position, sampled) = positions;
            Receipt {
                session,
                model,
                stage,
                requester,
                layers,
                sequence,
                from_position,
                to_position,
                sampled,
                output_hash,
            }
        },
    )
}

fn room_ticket() -> impl Strategy<Value = RoomTicket> {
    (any::<u64>(), signature()).prop_map(|(until_s, signature)| RoomTicket { until_s, signature })
}

fn room_entry() -> impl Strategy<Value = RoomEntry> {
    let model = option::of(any::<[u8; 8]>().prop_map(ModelTag));
    (any::<[u8; 32]>(), option::of(node()), model, option::of(room_ticket())).prop_map(
        |(hash, keeper, model, ticket)| RoomEntry {
            pass: RoomPass { hash, keeper, model },
            ticket,
        },
    )
}

fn to_door() -> impl Strategy<Value = ToDoor> {
    let said = || vec(any::<u8>(), 0..=MAX_DOOR_BYTES);
    prop_oneof![
        said().prop_map(|hello| ToDoor::Open { hello }),
        any::<u32>().prop_map(|door| ToDoor::Try { door }),
        (any::<u32>(), said()).prop_map(|(door, knock)| ToDoor::Knock { door, knock }),
        (any::<u32>(), said()).prop_map(|(door, sealed)| ToDoor::Answer { door, sealed }),
        (any::<u32>(), door_end()).prop_map(|(door, why)| ToDoor::Close { door, why }),
    ]
}

fn from_door() -> impl Strategy<Value = FromDoor> {
    let said = || vec(any::<u8>(), 0..=MAX_DOOR_BYTES);
    prop_oneof![
        DOOR_NUMBERS.prop_map(|door| FromDoor::Opened { door }),
        (any::<u32>(), said()).prop_map(|(door, hello)| FromDoor::Hello { door, hello }),
        (any::<u32>(), said()).prop_map(|(door, knock)| FromDoor::Knocked { door, knock }),
        (any::<u32>(), said()).prop_map(|(door, sealed)| FromDoor::Answered { door, sealed }),
        any::<u32>().prop_map(|door| FromDoor::Passed { door }),
        (any::<u32>(), door_end()).prop_map(|(door, why)| FromDoor::Closed { door, why }),
    ]
}

fn door_end() -> impl Strategy<Value = DoorEnd> {
    prop_oneof![
        Just(DoorEnd::LetIn),
        Just(DoorEnd::SentAway),
        Just(DoorEnd::WrongCode),
        Just(DoorEnd::Taken),
        Just(DoorEnd::NoDoor),
        Just(DoorEnd::Expired),
        Just(DoorEnd::Left),
        Just(DoorEnd::TooMany),
        Just(DoorEnd::NotInRoom),
        Just(DoorEnd::NotKeeper),
    ]
}

fn signed_signal() -> impl Strategy<Value = SignedSignal> {
    (signal(), signature(), option::of(room_ticket().prop_map(Box::new)))
        .prop_map(|(signal, signature, ticket)| SignedSignal { signal, signature, ticket })
}

fn signal() -> impl Strategy<Value = Signal> {
    prop_oneof![
        text(MAX_SDP_BYTES).prop_map(|sdp| Signal::Offer { sdp }),
        text(MAX_SDP_BYTES).prop_map(|sdp| Signal::Answer { sdp }),
        (
            text(MAX_CANDIDATE_BYTES),
            option::of(text(MAX_CANDIDATE_BYTES)),
            option::of(any::<u16>())
        )
            .prop_map(|(candidate, sdp_mid, sdp_m_line_index)| Signal::Candidate {
                candidate,
                sdp_mid,
                sdp_m_line_index
            }),
    ]
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let temperature = prop_oneof![Just(0), MIN_TEMPERATURE_MILLI..=MAX_TEMPERATURE_MILLI];
    let penalty = MIN_REPETITION_PENALTY_MILLI..=MAX_REPETITION_PENALTY_MILLI;
    (temperature, any::<u32>(), 1..=1000_u32, penalty, any::<u64>()).prop_map(
        |(temperature_milli, top_k, top_p_milli, repetition_penalty_milli, seed)| Sampling {
            temperature_milli,
            top_k,
            top_p_milli,
            repetition_penalty_milli,
            seed,
        },
    )
}

fn ice_server() -> impl Strategy<Value = IceServer> {
    (vec(text(100), 0..4), option::of(text(100)), option::of(text(100)))
        .prop_map(|(urls, username, credential)| IceServer { urls, username, credential })
}

fn model_summary() -> impl Strategy<Value = ModelSummary> {
    (model(), text(MAX_REASON_BYTES), 0..=MAX_LAYERS).prop_map(|(id, name, layers)| ModelSummary {
        id,
        name,
        layers,
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        any::<u64>().prop_map(|balance_macs| Verdict::Credited { balance_macs }),
        text(MAX_REASON_BYTES).prop_map(|reason| Verdict::Refused { reason }),
        Just(Verdict::TryAgain),
    ]
}

fn kind() -> impl Strategy<Value = NodeKind> {
    prop_oneof![Just(NodeKind::Browser), Just(NodeKind::Native)]
}

fn layers() -> impl Strategy<Value = LayerRange> {
    (0..MAX_LAYERS).prop_flat_map(|first| {
        (first + 1..=MAX_LAYERS).prop_map(move |end| LayerRange { first, end })
    })
}

fn node() -> impl Strategy<Value = NodeId> {
    any::<[u8; 32]>().prop_map(NodeId)
}

fn model() -> impl Strategy<Value = ModelId> {
    any::<[u8; 32]>().prop_map(ModelId)
}

fn session_id() -> impl Strategy<Value = SessionId> {
    any::<[u8; 16]>().prop_map(SessionId)
}

fn receipt_id() -> impl Strategy<Value = ReceiptId> {
    any::<[u8; 32]>().prop_map(ReceiptId)
}

fn request() -> impl Strategy<Value = RequestId> {
    any::<u32>().prop_map(RequestId)
}

fn signature() -> impl Strategy<Value = Signature> {
    any::<[[u8; 32]; 2]>().prop_map(|halves| {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(halves.as_flattened());
        Signature(bytes)
    })
}

fn count(rows: usize) -> u32 {
    u32::try_from(rows).expect("a step has at most MAX_ROWS rows")
}

/// Text of at most `limit` bytes, with the limit itself among it.
fn text(limit: usize) -> impl Strategy<Value = String> {
    let short = vec(any::<char>(), 0..=(limit / 4).min(24)).prop_map(String::from_iter);
    prop_oneof![9 => short, 1 => Just("x".repeat(limit))]
}
