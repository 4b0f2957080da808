//! Known-answer vectors of the wire: one value of every variant and its bytes.
//!
//! postcard numbers variants and fields by their order alone, so a reordered enum still compiles,
//! still reads what it wrote itself, and misreads everyone else. This table notices. Signatures are
//! real ones, so that the table also pins the bytes that are signed.
//!
//! If this test fails, the wire format has changed. If that was not meant, undo it: append variants
//! at the end and leave the order of fields alone. If it was meant, raise `PROTOCOL_VERSION` (nodes
//! and servers of different versions then refuse each other instead of misreading), run
//! `POTLUCK_WRITE_VECTORS=1 cargo test -p potluck-protocol --test wire_vectors` and commit the new
//! table together with the new version.

use std::fmt::Write as _;
use std::path::Path;

use data_encoding::HEXLOWER;
use potluck_protocol::PROTOCOL_VERSION;
use potluck_protocol::codec::{decode_from_server, decode_peer_frame, decode_to_server, encode};
use potluck_protocol::door::{DoorEnd, FromDoor, ToDoor};
use potluck_protocol::grant::{Grant, GrantedModels, Limits, Place, SignedGrant};
use potluck_protocol::id::{
    Epoch, GrantId, LayerRange, ModelId, NodeId, RequestId, SessionId, SiteKey,
};
use potluck_protocol::identity::{Identity, Purpose};
use potluck_protocol::invitation::{Invitation, RoomTicket};
use potluck_protocol::lease::{Lease, SignedLease};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::receipt::{Receipt, SignedReceipt};
use potluck_protocol::room::{ModelTag, RoomSecret};
use potluck_protocol::sampling::Sampling;
use potluck_protocol::server::{
    Capabilities, FromServer, IceServer, ModelSummary, NodeKind, Report, Session, Signal,
    SignedSignal, Stage, ToServer, Verdict, challenge_bytes,
};
use potluck_protocol::ticket::{SignedTicket, Ticket};

/// One vector: its name, its bytes, and whether the bytes read back as the value.
type Vector = (String, Vec<u8>, bool);

/// A vector for each named variant. The match behind it has no wildcard: a new variant does not
/// compile until it has a vector here.
macro_rules! vectors {
    ($kind:ident, $read:expr, { $($variant:ident: $value:expr,)* }) => {{
        fn name(value: &$kind) -> &'static str {
            match value {
                $($kind::$variant { .. } => stringify!($variant),)*
            }
        }
        vec![$({
            let value: $kind = $value;
            assert_eq!(name(&value), stringify!($variant), "the value is of another variant");
            let bytes = encode(&value);
            let reads_back = $read(&bytes).is_ok_and(|read: $kind| read == value);
            (concat!(stringify!($kind), "::", stringify!($variant)).to_owned(), bytes, reads_back)
        }),*]
    }};
}

#[test]
fn every_variant_keeps_its_bytes() {
    let mut table = format!("PROTOCOL_VERSION {PROTOCOL_VERSION}\n");
    for (name, bytes, reads_back) in all() {
        assert!(reads_back, "{name} does not read back");
        // Writing into a String cannot fail.
        let _ = writeln!(table, "{name} {}", HEXLOWER.encode(&bytes));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire_vectors.txt");
    if std::env::var_os("POTLUCK_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    for (now, before) in table.lines().zip(committed.lines()) {
        assert_eq!(now, before, "the wire format has changed; this test's file says what to do");
    }
    assert_eq!(table.lines().count(), committed.lines().count(), "vectors were added or removed");
}

fn all() -> Vec<Vector> {
    let parts = [to_server(), from_server(), peer_frames(), signals(), small_enums()];
    let mut vectors = parts.concat();
    let (session, receipt) = (session(), receipt());
    let bytes = encode(&session);
    let reads_back = postcard::from_bytes(&bytes) == Ok(session);
    vectors.push(("Session".to_owned(), bytes, reads_back));
    let bytes = receipt.signed_bytes();
    let reads_back = postcard::from_bytes(&bytes) == Ok(receipt);
    vectors.push(("Receipt".to_owned(), bytes, reads_back));
    vectors
}

fn to_server() -> Vec<Vector> {
    vectors!(ToServer, decode_to_server, {
        Hello: ToServer::Hello { protocol: 0x0102, numerics: 3, node: stage().node() },
        Prove: ToServer::Prove {
            origin: ORIGIN.to_owned(),
            signature: stage()
                .sign(Purpose::Challenge, &challenge_bytes(&[0x0c; 32], stage().node(), ORIGIN)),
            room: Some(Box::new(
                room()
                    .with(Some(room_ticket()))
                    .computing(Some(ModelTag::of("potluck-tiny")))
                    .entry(),
            )),
        },
        Register: ToServer::Register {
            capabilities: Capabilities {
                kind: NodeKind::Native,
                backend: "avx2".to_owned(),
                memory_bytes: 8 << 30,
                macs_per_ms: 12_345_678,
            },
            grant: Box::new(signed_grant()),
            lease: Some(signed_lease()),
        },
        Deregister: ToServer::Deregister,
        LayersReady: ToServer::LayersReady { model: model(), layers: layers(2, 200) },
        Ask: ToServer::Ask {
            request: RequestId(300),
            model: model(),
            exclude: vec![NodeId([0xee; 32])],
            continues: Some(SessionId([0xab; 16])),
        },
        Cancel: ToServer::Cancel { request: RequestId(301) },
        EndSession: ToServer::EndSession {
            session: id(),
            reason: "zu Ende".to_owned(),
            failed_node: Some(stage().node()),
            keeps: false,
        },
        Signal: ToServer::Signal { to: requester().node(), signal: signed_signal() },
        Receipt: ToServer::Receipt {
            receipt: Box::new(signed_receipt()),
            ticket: Box::new(signed_ticket()),
        },
        Report: ToServer::Report(Report { tokens: 1 << 40, us_per_token_p50: 1500 }),
        Heartbeat: ToServer::Heartbeat,
        Pace: ToServer::Pace { percent: 30 },
        Door: ToServer::Door(ToDoor::Try { door: 4821 }),
        AskMiddle: ToServer::AskMiddle {
            request: RequestId(302),
            model: model(),
            exclude: vec![NodeId([0xee; 32])],
            layers: layers(2, 200),
            continues: None,
        },
    })
}

fn from_server() -> Vec<Vector> {
    vectors!(FromServer, decode_from_server, {
        Challenge: FromServer::Challenge { nonce: [0x0c; 32] },
        Welcome: FromServer::Welcome {
            ice_servers: vec![ice_server()],
            models: vec![ModelSummary { id: model(), name: "tiny".to_owned(), layers: 6 }],
            heartbeat_ms: 5000,
        },
        Assign: FromServer::Assign { model: model(), lease: Some(signed_lease()) },
        Waiting: FromServer::Waiting { request: RequestId(300), missing: vec![layers(3, 6)] },
        Route: FromServer::Route { request: RequestId(300), session: session() },
        Serve: FromServer::Serve { session: session(), ticket: Box::new(signed_ticket()) },
        SessionEnded: FromServer::SessionEnded {
            session: id(),
            reason: "gone".to_owned(),
            failed_node: None,
        },
        Signal: FromServer::Signal { from: stage().node(), signal: signed_signal() },
        ReceiptResult: FromServer::ReceiptResult {
            receipt: receipt().id(),
            verdict: Verdict::TryAgain,
        },
        Refused: FromServer::Refused {
            reason: "too many connections".to_owned(),
            retry_after_ms: Some(3000),
        },
        RequestRefused: FromServer::RequestRefused {
            request: RequestId(302),
            reason: "only the first model is served".to_owned(),
        },
        Heartbeat: FromServer::Heartbeat,
        IceServers: FromServer::IceServers { ice_servers: vec![ice_server()] },
        LendingRefused: FromServer::LendingRefused { reason: "it has ended".to_owned() },
        Door: FromServer::Door(FromDoor::Passed { door: 4821 }),
    })
}

fn ice_server() -> IceServer {
    IceServer {
        urls: vec!["stun:stun.example.org:3478".to_owned()],
        username: Some("user".to_owned()),
        credential: None,
    }
}

fn peer_frames() -> Vec<Vector> {
    vectors!(PeerFrame, decode_peer_frame, {
        Step: PeerFrame::Step {
            session: id(),
            position: 130,
            tokens: vec![1, 127, 128, 50_000],
            sampling: Some(sampling()),
        },
        Hidden: PeerFrame::Hidden {
            session: id(),
            position: 131,
            rows: 2,
            values: vec![0, -1, i32::MAX, i32::MIN],
            sampling: None,
        },
        Token: PeerFrame::Token { session: id(), position: 134, token: 49_151 },
        ReceiptProposal: PeerFrame::ReceiptProposal {
            receipt: receipt(),
            signature: receipt().sign(&stage()),
        },
        ReceiptSigned: PeerFrame::ReceiptSigned {
            receipt: receipt().id(),
            signature: receipt().sign(&requester()),
        },
        End: PeerFrame::End { session: id(), keeps: true },
        Ping: PeerFrame::Ping { session: id() },
        Pong: PeerFrame::Pong { session: id() },
        Failed: PeerFrame::Failed {
            session: id(),
            reason: "no memory".to_owned(),
            failed_node: Some(stage().node()),
        },
        Window: PeerFrame::Window { session: id(), rows: 128 },
        Seen: PeerFrame::Seen { session: id(), tokens: vec![1, 300, 100_000] },
    })
}

fn signals() -> Vec<Vector> {
    vectors!(Signal, postcard::from_bytes, {
        Offer: Signal::Offer { sdp: "v=0".to_owned() },
        Answer: Signal::Answer { sdp: "v=0".to_owned() },
        Candidate: Signal::Candidate {
            candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host".to_owned(),
            sdp_mid: Some("0".to_owned()),
            sdp_m_line_index: Some(300),
        },
    })
}

fn small_enums() -> Vec<Vector> {
    let mut vectors = vectors!(Verdict, postcard::from_bytes, {
        Credited: Verdict::Credited { balance_macs: u64::MAX },
        Refused: Verdict::Refused { reason: "not yours".to_owned() },
        TryAgain: Verdict::TryAgain,
    });
    vectors.extend(vectors!(NodeKind, postcard::from_bytes, {
        Browser: NodeKind::Browser,
        Native: NodeKind::Native,
    }));
    vectors.extend(vectors!(ToDoor, postcard::from_bytes, {
        Open: ToDoor::Open { hello: vec![1, 2, 3] },
        Try: ToDoor::Try { door: 4821 },
        Knock: ToDoor::Knock { door: 4821, knock: vec![4, 5] },
        Answer: ToDoor::Answer { door: 4821, sealed: vec![6] },
        Close: ToDoor::Close { door: 4821, why: DoorEnd::WrongCode },
    }));
    vectors.extend(vectors!(FromDoor, postcard::from_bytes, {
        Opened: FromDoor::Opened { door: 4821 },
        Hello: FromDoor::Hello { door: 4821, hello: vec![1, 2, 3] },
        Knocked: FromDoor::Knocked { door: 4821, knock: vec![4, 5] },
        Answered: FromDoor::Answered { door: 4821, sealed: vec![6] },
        Passed: FromDoor::Passed { door: 4821 },
        Closed: FromDoor::Closed { door: 4821, why: DoorEnd::NoDoor },
    }));
    vectors.extend(vectors!(DoorEnd, postcard::from_bytes, {
        LetIn: DoorEnd::LetIn,
        SentAway: DoorEnd::SentAway,
        WrongCode: DoorEnd::WrongCode,
        Taken: DoorEnd::Taken,
        NoDoor: DoorEnd::NoDoor,
        Expired: DoorEnd::Expired,
        Left: DoorEnd::Left,
        TooMany: DoorEnd::TooMany,
        NotInRoom: DoorEnd::NotInRoom,
        NotKeeper: DoorEnd::NotKeeper,
    }));
    vectors
}

const ORIGIN: &str = "https://potluck.example";

fn stage() -> Identity {
    Identity::from_seed(&[1; 32])
}

fn requester() -> Identity {
    Identity::from_seed(&[2; 32])
}

fn id() -> SessionId {
    SessionId([0x51; 16])
}

fn model() -> ModelId {
    ModelId([0x3d; 32])
}

fn layers(first: u32, end: u32) -> LayerRange {
    LayerRange { first, end }
}

fn sampling() -> Sampling {
    Sampling {
        temperature_milli: 700,
        top_k: 40,
        top_p_milli: 950,
        repetition_penalty_milli: 1100,
        seed: 0x0102_0304_0506_0708,
    }
}

fn session() -> Session {
    Session {
        id: id(),
        model: model(),
        requester: requester().node(),
        stages: vec![
            Stage { node: stage().node(), layers: layers(0, 3) },
            Stage { node: NodeId([0xee; 32]), layers: layers(3, 6) },
        ],
        epochs: vec![Epoch(7), Epoch(1 << 63), Epoch(9)],
        continues: Some(SessionId([0xab; 16])),
    }
}

fn receipt() -> Receipt {
    Receipt {
        session: id(),
        model: model(),
        stage: stage().node(),
        requester: requester().node(),
        layers: layers(3, 6),
        sequence: 2,
        from_position: 128,
        to_position: 192,
        sampled: 60,
        output_hash: [0x0f; 32],
    }
}

fn signed_receipt() -> SignedReceipt {
    let receipt = receipt();
    SignedReceipt {
        stage_signature: receipt.sign(&stage()),
        requester_signature: receipt.sign(&requester()),
        receipt,
    }
}

fn server() -> Identity {
    Identity::from_seed(&[3; 32])
}

fn signed_lease() -> SignedLease {
    let (node, until_s) = (stage().node(), 1_800_000_000);
    SignedLease::new(&server(), Lease { node, model: model(), layers: layers(0, 3), until_s })
}

fn signed_grant() -> SignedGrant {
    let grant = Grant {
        id: GrantId([0; 16]),
        node: stage().node(),
        to: ORIGIN.to_owned(),
        place: Place::Widget { site: SiteKey([0x5e; 16]) },
        models: GrantedModels::These(vec![model()]),
        limits: Limits::default(),
        given_s: 1_800_000_000,
        until_s: 1_807_776_000,
    };
    SignedGrant::new(&stage(), grant)
}

fn signed_ticket() -> SignedTicket {
    let ticket = Ticket {
        session: id(),
        model: model(),
        requester: requester().node(),
        stage: stage().node(),
        layers: layers(3, 6),
        opened_ms: 1_700_000_000_000,
        until_s: 1_700_003_600,
        earns: true,
        continues: true,
    };
    SignedTicket::new(&server(), ticket)
}

fn signed_signal() -> SignedSignal {
    let offer = Signal::Offer { sdp: "v=0".to_owned() };
    SignedSignal::new(&stage(), requester().node(), offer, None).showing(Some(room_ticket()))
}

/// A room with a list.
fn room() -> Invitation {
    Invitation::kept_by(&requester(), RoomSecret([0x5a; 16]))
}

fn room_ticket() -> RoomTicket {
    let keeper = room().keeper_of(&requester()).expect("it keeps the list");
    RoomTicket::new(&keeper, room().room(), stage().node(), 1_800_000_000)
}
