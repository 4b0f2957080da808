//! A stage by itself: what it lets go on, what it gives back, and where a session of its ends.

use std::sync::Arc;

use potluck_model::synthetic::{Synthetic, config};
use potluck_net as net;
use potluck_protocol::codec::{INITIAL_WINDOW_ROWS, decode_peer_frame};
use potluck_protocol::grant::{GrantedModels, SignedGrant, Terms};
use potluck_protocol::id::{Epoch, ModelId};
use potluck_protocol::identity::Identity;
use potluck_protocol::server::Stage;

use super::*;

const MODEL: ModelId = ModelId([1; 32]);
const SESSION: SessionId = SessionId([5; 16]);
const REQUESTER: NodeId = NodeId([1; 32]);
const NEXT: NodeId = NodeId([2; 32]);
const WIDTH: usize = 64;
/// As many as a step may have.
const ROWS: u32 = INITIAL_WINDOW_ROWS / 2;

/// The first of two stages of a session, with connections open.
fn first_stage() -> (Stages, Context) {
    let identity = Identity::from_seed(&[9; 32]);
    let grant = Terms::default().grant(identity.node(), "http://test".to_owned(), 0);
    let grant = SignedGrant::new(&identity, grant);
    let mut context = Context { grant: Some(grant), ..Context::new(identity) };
    let model = Synthetic::new(config(3, 64, 96, (4, 2, 16), 99, 2048), 3);
    context.library.manifests.insert(MODEL, Arc::new(model.manifest));
    let mut stages = Stages::default();
    assert!(stages.open(session(context.me), true, true, &mut context));
    for peer in [REQUESTER, NEXT] {
        context.peers.handle_open(peer, &mut context.outbox);
    }
    context.outbox.actions.clear();
    (stages, context)
}

fn session(me: NodeId) -> Session {
    let stages = vec![
        Stage { node: me, layers: LayerRange { first: 0, end: 2 } },
        Stage { node: NEXT, layers: LayerRange { first: 2, end: 3 } },
    ];
    let epochs = vec![Epoch(0); 3];
    Session { id: SESSION, model: MODEL, requester: REQUESTER, stages, epochs, continues: None }
}

/// The requester sends so many rows; true if they go to the engine.
fn send(stages: &mut Stages, context: &mut Context, position: u32, rows: u32) -> bool {
    let tokens = vec![1; rows as usize];
    let step = PeerFrame::Step { session: SESSION, position, tokens, sampling: None };
    let before = context.outbox.actions.len();
    stages.handle_tokens(REQUESTER, step, context);
    matches!(context.outbox.actions.get(before), Some(Action::Compute(_)))
}

/// The engine is done with so many rows.
fn compute(stages: &mut Stages, context: &mut Context, position: u32, rows: u32) {
    let values = vec![0; rows as usize * WIDTH];
    let result = StepResult {
        session: SESSION,
        position,
        rows,
        sampling: None,
        output: Ok(Output::Hidden(values)),
        elapsed: Duration::ZERO,
    };
    stages.handle_result(result, context);
}

/// Rows of hidden frames to the next stage, and rows of room to the requester, since the last look.
fn sent(context: &mut Context) -> (u32, u32) {
    let (mut hidden, mut room) = (0, 0);
    for action in std::mem::take(&mut context.outbox.actions) {
        let Action::Transport(net::Command::SendPeer { peer, frame, .. }) = action else {
            continue;
        };
        match (peer, decode_peer_frame(&frame).unwrap()) {
            (NEXT, PeerFrame::Hidden { rows, .. }) => hidden += rows,
            (REQUESTER, PeerFrame::Window { rows, .. }) => room += rows,
            (REQUESTER, PeerFrame::ReceiptProposal { .. }) => {}
            (peer, frame) => panic!("{frame:?} to {}", peer.short()),
        }
    }
    (hidden, room)
}

#[test]
fn what_the_next_stage_has_no_room_for_stays_and_gives_none_back() {
    let (mut stages, mut context) = first_stage();
    let mut position = 0;
    for _ in 0..2 {
        assert!(send(&mut stages, &mut context, position, ROWS));
        compute(&mut stages, &mut context, position, ROWS);
        assert_eq!(sent(&mut context), (ROWS, ROWS));
        position += ROWS;
    }
    for _ in 0..2 {
        assert!(send(&mut stages, &mut context, position, ROWS));
        compute(&mut stages, &mut context, position, ROWS);
        position += ROWS;
    }
    assert_eq!(sent(&mut context), (0, 0), "a window is out, and a window is here");
    assert!(!send(&mut stages, &mut context, position, 1), "there is no room for more");
    let fault = context.outbox.events.pop_back();
    assert!(
        matches!(&fault, Some(Event::PeerMisbehaved { peer: REQUESTER, fault })
            if fault.contains("more rows than there was room for")),
        "{fault:?}"
    );
    assert!(stages.handle_window(NEXT, SESSION, ROWS, &mut context));
    assert_eq!(sent(&mut context), (ROWS, ROWS), "as much as there is room for");
    assert!(stages.handle_window(NEXT, SESSION, 2 * ROWS, &mut context));
    assert_eq!(sent(&mut context), (ROWS, ROWS));
}

#[test]
fn a_single_token_costs_no_frame_of_room() {
    let (mut stages, mut context) = first_stage();
    for position in 0..ROWS - 1 {
        assert!(send(&mut stages, &mut context, position, 1));
        compute(&mut stages, &mut context, position, 1);
    }
    assert_eq!(sent(&mut context), (ROWS - 1, 0));
    // All the same there is room for the longest step.
    assert!(send(&mut stages, &mut context, ROWS - 1, ROWS));
    compute(&mut stages, &mut context, ROWS - 1, ROWS);
    assert_eq!(sent(&mut context), (ROWS, 2 * ROWS - 1));
}

#[test]
fn frames_of_a_session_that_is_over_are_neither_kept_nor_a_fault() {
    let (mut stages, mut context) = first_stage();
    assert!(send(&mut stages, &mut context, 0, 1));
    stages.close(SESSION, Some("for the test"), &mut context);
    context.outbox.events.clear();
    assert!(!send(&mut stages, &mut context, 1, 1));
    assert!(stages.handle_window(NEXT, SESSION, INITIAL_WINDOW_ROWS, &mut context));
    assert!(!stages.handle_window(NEXT, SessionId([6; 16]), 1, &mut context), "never heard of");
    assert!(context.outbox.events.is_empty(), "{:?}", context.outbox.events);
    assert_eq!(stages.early.take(SESSION), []);
}

#[test]
fn a_stage_that_serves_enough_says_so_and_is_at_fault_itself() {
    let (mut stages, mut context) = first_stage();
    for number in 1..=u8::try_from(MAX_SESSIONS).unwrap() {
        let id = SessionId([100 + number; 16]);
        let requester = NodeId([100 + number / 8; 32]);
        let session = Session { id, requester, ..session(context.me) };
        let is_served = stages.open(session, true, true, &mut context);
        assert_eq!(is_served, number < 64);
    }
    context.outbox.actions.clear();
    assert_eq!(stages.count(), 64);
    assert!(
        stages
            .refusal(&session(context.me))
            .is_some_and(|(said, is_ours)| is_ours && said.contains("too many sessions"))
    );
}

#[test]
fn the_requester_that_ends_a_session_hears_when_its_stage_is_done() {
    let (mut stages, mut context) = first_stage();
    assert!(send(&mut stages, &mut context, 0, 70));
    compute(&mut stages, &mut context, 0, 70);
    context.outbox.events.clear();
    stages.handle_end(REQUESTER, SESSION, false, &mut context);
    let events: Vec<Event> = std::mem::take(&mut context.outbox.events).into();
    assert!(
        matches!(&events[..], [
            Event::WorkDone(receipt),
            Event::SessionClosed { .. },
            Event::AllProposed { requester: REQUESTER, session: SESSION },
        ] if receipt.from_position == 64 && receipt.to_position == 70),
        "{events:?}"
    );
    // The server's word that it is over may come first.
    stages.handle_end(REQUESTER, SESSION, false, &mut context);
    assert!(matches!(context.outbox.events.pop_front(), Some(Event::AllProposed { .. })));
    stages.handle_end(NEXT, SESSION, false, &mut context);
    assert!(context.outbox.events.is_empty());
}

#[test]
fn work_that_earns_nothing_is_on_no_receipt() {
    let (mut stages, mut context) = first_stage();
    stages.close(SESSION, None, &mut context);
    let id = SessionId([6; 16]);
    let session = Session { id, ..session(context.me) };
    assert!(stages.open(session, false, true, &mut context));
    context.outbox.events.clear();
    let tokens = vec![1; 100];
    let step = PeerFrame::Step { session: id, position: 0, tokens, sampling: None };
    stages.handle_tokens(REQUESTER, step, &mut context);
    let output = Ok(Output::Hidden(vec![0; 100 * WIDTH]));
    let result = StepResult {
        session: id,
        position: 0,
        rows: 100,
        sampling: None,
        output,
        elapsed: Duration::ZERO,
    };
    stages.handle_result(result, &mut context);
    stages.close(id, None, &mut context);
    let done = |event: &Event| matches!(event, Event::WorkDone(_));
    assert!(!context.outbox.events.iter().any(done), "{:?}", context.outbox.events);
}

#[test]
fn a_step_of_a_model_that_is_not_granted_is_not_computed_and_the_session_goes_on_elsewhere() {
    let (mut stages, mut context) = first_stage();
    assert!(send(&mut stages, &mut context, 0, 1));
    let Some(signed) = &mut context.grant else { panic!("it is lent") };
    signed.grant.models = GrantedModels::These(vec![ModelId([2; 32])]);
    assert!(!send(&mut stages, &mut context, 1, 1));
    assert_eq!(stages.count(), 0);
    let me = context.me;
    let failed = context.outbox.actions.iter().any(|action| match action {
        Action::Transport(net::Command::SendPeer { peer: REQUESTER, frame, .. }) => {
            matches!(decode_peer_frame(frame), Ok(PeerFrame::Failed { failed_node, .. })
                if failed_node == Some(me))
        }
        _ => false,
    });
    assert!(failed, "{:?}", context.outbox.actions);
    // Nor is another session of it opened.
    let another = Session { id: SessionId([6; 16]), ..session(me) };
    assert!(!stages.open(another, true, true, &mut context));
}
