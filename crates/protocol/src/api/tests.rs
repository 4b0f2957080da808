//! The JSON, byte for byte.

use serde_json::{Value, from_value, json, to_value};

use super::*;

fn node() -> NodeView {
    NodeView {
        id: NodeId([7; 32]),
        name: NodeId([7; 32]).name(),
        called: None,
        kind: NodeKind::Native,
        backend: "avx2".to_owned(),
        model: Some("tiny".to_owned()),
        layers: InclusiveLayers::try_from([0, 2]).ok(),
        state: NodeState::Serving,
        tokens: 7,
        ms_per_token_p50: Some(1.5),
        memory_bytes: 1 << 30,
        sessions: 1,
        connected_at_s: 1_700_000_003,
    }
}

fn fetching(first: u32, last: u32) -> NodeView {
    let layers = InclusiveLayers::try_from([first, last]).ok();
    NodeView { state: NodeState::Fetching, layers, ..node() }
}

/// Written as `json`, and read back from it.
fn assert_is<T>(value: &T, json: Value)
where
    T: PartialEq + fmt::Debug + Serialize + serde::de::DeserializeOwned,
{
    assert_eq!(to_value(value).unwrap(), json);
    assert_eq!(&from_value::<T>(json).unwrap(), value);
}

#[test]
fn the_swarm_is_this_json() {
    let idle = NodeView {
        id: NodeId([0xab; 32]),
        name: "Quick Fig".to_owned(),
        called: None,
        kind: NodeKind::Browser,
        backend: "webgpu".to_owned(),
        model: None,
        layers: None,
        state: NodeState::Waiting,
        tokens: 0,
        ms_per_token_p50: None,
        memory_bytes: 0,
        sessions: 0,
        connected_at_s: 0,
    };
    let copies = ModelCopies { name: "tiny".to_owned(), layers: 4, copies: vec![1, 1, 1, 0] };
    let view = SwarmView {
        nodes: vec![node(), idle],
        models: vec![copies],
        connected: 3,
        sessions: 1,
        waiting: 2,
        totals: SwarmTotals {
            nodes: 2,
            browsers: 1,
            natives: 1,
            serving: 1,
            fetching: 0,
            waiting: 1,
            memory_bytes: 1 << 30,
            rows: 7,
            rows_per_s: 0.5,
        },
    };
    assert_is(
        &view,
        json!({
            "nodes": [
                {
                    "id": "0707070707070707070707070707070707070707070707070707070707070707",
                    "name": "Copper Carrot",
                    "kind": "native",
                    "backend": "avx2",
                    "model": "tiny",
                    "layers": [0, 2],
                    "state": "serving",
                    "tokens": 7,
                    "ms_per_token_p50": 1.5,
                    "memory_bytes": 1_073_741_824,
                    "sessions": 1,
                    "connected_at_s": 1_700_000_003
                },
                {
                    "id": "abababababababababababababababababababababababababababababababab",
                    "name": "Quick Fig",
                    "kind": "browser",
                    "backend": "webgpu",
                    "model": null,
                    "layers": null,
                    "state": "waiting",
                    "tokens": 0,
                    "ms_per_token_p50": null,
                    "memory_bytes": 0,
                    "sessions": 0,
                    "connected_at_s": 0
                }
            ],
            "models": [{ "name": "tiny", "layers": 4, "copies": [1, 1, 1, 0] }],
            "connected": 3,
            "sessions": 1,
            "waiting": 2,
            "totals": {
                "nodes": 2,
                "browsers": 1,
                "natives": 1,
                "serving": 1,
                "fetching": 0,
                "waiting": 1,
                "memory_bytes": 1_073_741_824,
                "rows": 7,
                "rows_per_s": 0.5
            }
        }),
    );
    let page = NodesPage { nodes: Vec::new(), next: Some(NodeId([7; 32])) };
    assert_is(&page, json!({ "nodes": [], "next": "07".repeat(32) }));
}

#[test]
fn the_tally_is_this_json() {
    let row = TallyRow {
        node: NodeId([7; 32]),
        name: "Copper Carrot".to_owned(),
        called: None,
        kind: None,
        credit_gmac: 0.042,
        credit_macs: u64::MAX,
        receipts: 3,
    };
    assert_is(
        &row,
        json!({
            "node": "0707070707070707070707070707070707070707070707070707070707070707",
            "name": "Copper Carrot",
            "kind": null,
            "credit_gmac": 0.042,
            "credit_macs": "18446744073709551615",
            "receipts": 3
        }),
    );
}

#[test]
fn models_and_errors_are_this_json() {
    let model = ModelView {
        id: ModelId([0x11; 32]),
        name: "tiny".to_owned(),
        layers: 6,
        bytes: 1_234,
        ends_bytes: 567,
        max_positions: 512,
        license: "MIT".to_owned(),
    };
    assert_is(
        &model,
        json!({
            "id": "1111111111111111111111111111111111111111111111111111111111111111",
            "name": "tiny",
            "layers": 6,
            "bytes": 1_234,
            "ends_bytes": 567,
            "max_positions": 512,
            "license": "MIT"
        }),
    );
    assert_is(&ErrorBody { error: "no such blob".to_owned() }, json!({ "error": "no such blob" }));
}

#[test]
fn every_state_is_the_word_that_is_shown() {
    for state in [NodeState::Serving, NodeState::Fetching, NodeState::Waiting, NodeState::Paused] {
        assert_is(&state, json!(state.to_string()));
    }
}

#[test]
fn impossible_layers_and_credit_are_refused() {
    assert!(from_value::<InclusiveLayers>(json!([3, 2])).is_err());
    assert!(from_value::<InclusiveLayers>(json!([3, u32::MAX])).is_err());
    assert!(from_value::<InclusiveLayers>(json!([3])).is_err());
    let mut row = json!({
        "node": "07".repeat(32), "name": "", "kind": "browser", "credit_gmac": 0.0,
        "credit_macs": "42", "receipts": 0
    });
    assert_eq!(from_value::<TallyRow>(row.clone()).unwrap().credit_macs, 42);
    row["credit_macs"] = json!("4.2");
    assert!(from_value::<TallyRow>(row).is_err());
}

#[test]
fn only_serving_nodes_cover_layers() {
    let mut view = SwarmView { nodes: vec![node(), fetching(3, 5)], ..SwarmView::default() };
    assert!(view.covers(3));
    assert!(!view.covers(6));
    view.nodes[1].state = NodeState::Serving;
    assert!(view.covers(6));
}

#[test]
fn a_chosen_name_stands_beside_the_other() {
    let node = NodeView { called: Some("Rosa".to_owned()), ..node() };
    let json = serde_json::to_value(&node).unwrap();
    assert_eq!(json["called"], "Rosa");
    assert_eq!(serde_json::from_value::<NodeView>(json).unwrap(), node);
}

#[test]
fn classes_are_of_what_is_registered_and_agreed_to() {
    use HardwareClass::{Browser, Graphics, Native, Phone};
    for (kind, backend, on_phone, class) in [
        (NodeKind::Browser, "simd128", false, Browser),
        (NodeKind::Browser, "webgpu", false, Graphics),
        (NodeKind::Browser, "webgpu", true, Phone),
        (NodeKind::Browser, "simd128", true, Phone),
        (NodeKind::Native, "avx2", false, Native),
        (NodeKind::Native, "vulkan", true, Native),
    ] {
        assert_eq!(HardwareClass::of(kind, backend, on_phone), class, "{kind} {backend}");
    }
    for class in HardwareClass::ALL {
        assert_eq!(serde_json::to_value(class).unwrap(), class.word());
    }
    for period in Period::ALL {
        assert_eq!(serde_json::to_value(period).unwrap(), period.word());
    }
    for of in [BoardOf::People, BoardOf::Teams] {
        assert_eq!(serde_json::to_value(of).unwrap(), of.word());
    }
}

#[test]
fn weeks_begin_on_monday() {
    // 23 to 29 November 2026, a Monday and a Sunday.
    for today in 20_780..=20_786 {
        assert_eq!(Period::Week.days(today), Some([20_780, 20_786]), "{today}");
        assert_eq!(Period::Before.days(today), Some([20_773, 20_779]), "{today}");
        assert_eq!(Period::All.days(today), None);
    }
    assert_eq!(Period::Week.days(20_787), Some([20_787, 20_793]));
}
