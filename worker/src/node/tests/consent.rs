//! Whatever the worker does, the person sees; and what the person does not see, it does not do.
//!
//! Each test asks that question after everything that happens: see `Driven::handle`.

use potluck_engine::engine::LoadError;
use potluck_protocol::grant::MAX_GRANT_S;

use super::*;
use crate::failure::{EngineFailure, LoadFailure};

/// A place in lending: what it is called, and how one gets there from a connected node.
pub(super) type Place = (&'static str, fn(&mut Driven));

/// What ends it: what it is called, and how.
type Ending = (&'static str, fn(&mut Driven));

pub(super) const PLACES: [Place; 9] = [
    ("starting", |driven| driven.lend()),
    ("waiting", |driven| {
        driven.lend();
        driven.machine(MachineEvent::EngineReady(engine("webgpu", ENGINE_MACS_PER_MS)));
    }),
    ("fetching the manifest", |driven| {
        go_to(driven, "waiting");
        driven.assign(ALL);
    }),
    ("fetching parts", |driven| {
        go_to(driven, "fetching the manifest");
        let result = Ok(Arc::new(synthetic().manifest));
        driven.machine(MachineEvent::Manifest { model: FIRST, result });
    }),
    ("fetching other parts", |driven| {
        go_to(driven, "fetching parts");
        driven.loaded(BlobRole::Tables, Ok(()));
        driven.assign(LayerRange { first: 1, end: 2 });
    }),
    ("retrying the manifest", |driven| {
        go_to(driven, "fetching the manifest");
        driven.machine(MachineEvent::Manifest { model: FIRST, result: Err(not_found()) });
    }),
    ("retrying a part while others come", |driven| {
        go_to(driven, "fetching parts");
        driven.loaded(BlobRole::Layer(0), Err(LoadFailure::Download(status_404())));
        driven.loaded(BlobRole::Layer(1), Ok(()));
    }),
    ("serving", |driven| {
        go_to(driven, "fetching parts");
        for (role, _) in synthetic().manifest.blobs_for(ALL.indices()) {
            driven.loaded(role, Ok(()));
        }
    }),
    ("computing a step", |driven| {
        go_to(driven, "serving");
        let me = driven.node.id();
        driven.serve(session(me, REQUESTER));
        driven.handle(Input::Transport(net::Event::PeerOpen { peer: REQUESTER }));
        let frame = PeerFrame::Step {
            session: SessionId([5; 16]),
            position: 0,
            tokens: vec![3],
            sampling: None,
        };
        let (channel, frame) = (frame.channel(), codec::encode(&frame));
        driven.handle(Input::Transport(net::Event::PeerFrame { peer: REQUESTER, channel, frame }));
    }),
];

const ENDINGS: [Ending; 7] = [
    ("stop", |driven| driven.handle(Input::Command(Command::StopLending))),
    ("a refusal for good", |driven| {
        let reason = "this identity connected elsewhere".to_owned();
        driven.receive(&FromServer::Refused { reason, retry_after_ms: None });
    }),
    ("an engine that cannot go on", |driven| {
        let reason = "the GPU is gone".to_owned();
        driven.machine(MachineEvent::EngineFailed { reason });
    }),
    ("an address that cannot be one", |driven| {
        driven.handle(Input::Command(Command::Connect { server: "foo".to_owned(), room: None }));
    }),
    ("the end of the grant", |driven| {
        driven.calendar = TODAY + Duration::from_secs(MAX_GRANT_S);
        driven.handle(Input::Tick);
    }),
    ("a server that does not take the grant", |driven| {
        let reason = "the grant has ended".to_owned();
        driven.receive(&FromServer::LendingRefused { reason });
    }),
    ("another server", |driven| {
        driven.handle(Input::Command(Command::Connect {
            server: "http://other".to_owned(),
            room: None,
        }));
        driven.welcome();
    }),
];

pub(super) const REQUESTER: NodeId = NodeId([8; 32]);

pub(super) fn go_to(driven: &mut Driven, place: &str) {
    let go = PLACES.iter().find(|(name, _)| *name == place).unwrap().1;
    go(driven);
}

fn status_404() -> FetchError {
    FetchError::Status { url: "http://test".to_owned(), status: 404 }
}

/// Everything that may still come in, and time in which to do something.
pub(super) fn live_on(driven: &mut Driven) {
    let me = driven.node.id();
    driven.assign(ALL);
    driven.serve(session(me, REQUESTER));
    driven.pass(Duration::from_secs(600));
}

#[test]
fn after_the_end_of_lending_nothing_is_left_and_nothing_begins_again() {
    for (place, go) in PLACES {
        for (ending, end) in ENDINGS {
            let mut driven = Driven::connected();
            go(&mut driven);
            assert!(is_shown_as_lent(&driven.shown), "{place}: {:?}", driven.shown);
            assert_ne!(driven.running, Running::default(), "{place}");
            end(&mut driven);
            assert!(!is_shown_as_lent(&driven.shown), "{place}, {ending}: {:?}", driven.shown);
            assert_eq!(driven.running, Running::default(), "{place}, {ending}");
            let is_failure = matches!(driven.shown, LendingPhase::Failed { .. });
            assert_eq!(is_failure, ending != "stop", "{place}, {ending}: {:?}", driven.shown);
            live_on(&mut driven);
            assert_eq!(driven.running, Running::default(), "{place}, {ending}, and then");
            // Nor is anything in the way of a fresh start.
            driven.lend();
            assert_eq!(driven.shown, LendingPhase::Starting, "{place}, {ending}, and again");
        }
    }
}

#[test]
fn a_lost_link_and_a_refusal_for_now_end_nothing() {
    for (place, go) in PLACES {
        for retry_after_ms in [None, Some(1_000)] {
            let mut driven = Driven::connected();
            go(&mut driven);
            let shown = driven.shown.clone();
            let reason = "it went away".to_owned();
            match retry_after_ms {
                None => {
                    driven.handle(Input::Transport(net::Event::ServerClosed { reason }));
                }
                retry_after_ms => {
                    driven.receive(&FromServer::Refused { reason, retry_after_ms });
                }
            }
            assert_eq!(driven.shown, shown, "{place}");
            driven.actions.clear();
            driven.pass(Duration::from_secs(2));
            let dials = |action: &Action| {
                matches!(action, Action::Transport(net::Command::OpenServer { .. }))
            };
            assert!(driven.actions.iter().any(dials), "{place}: it comes back by itself");
            driven.welcome();
            let sent = driven.sent();
            let registers = |message: &&ToServer| matches!(message, ToServer::Register { .. });
            let expected = usize::from(place != "starting");
            assert_eq!(sent.iter().filter(registers).count(), expected, "{place}: {sent:?}");
        }
    }
}

#[test]
fn a_failed_download_is_tried_again_with_growing_patience_and_shown_as_that() {
    let mut driven = Driven::connected();
    go_to(&mut driven, "fetching the manifest");
    let mut waits = Vec::new();
    for _ in 0..6 {
        driven.machine(MachineEvent::Manifest { model: FIRST, result: Err(not_found()) });
        let LendingPhase::Retrying { reason, retry_ms } = &driven.shown else {
            panic!("{:?}", driven.shown)
        };
        assert!(reason.contains("404"), "{reason}");
        waits.push(*retry_ms / 1_000);
        let wait = Duration::from_millis(u64::from(*retry_ms));
        driven.actions.clear();
        driven.pass(wait - TICK);
        let fetches = |action: &Action| matches!(action, Action::FetchManifest { model: FIRST });
        assert!(!driven.actions.iter().any(fetches), "not before");
        driven.pass(TICK);
        assert!(driven.actions.iter().any(fetches), "and then again");
        assert_eq!(driven.shown, LendingPhase::Fetching);
    }
    assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
}

#[test]
fn parts_that_fail_together_wait_once_and_others_do_not_wake_them() {
    let mut driven = Driven::connected();
    go_to(&mut driven, "fetching parts");
    for layer in 0..3 {
        let failure = LoadFailure::Download(status_404());
        driven.loaded(BlobRole::Layer(layer), Err(failure));
    }
    driven.actions.clear();
    driven.loaded(BlobRole::Tables, Ok(()));
    let fetched = |driven: &Driven| -> Vec<BlobRole> {
        let role = |action: &Action| match action {
            Action::FetchBlob { role, .. } => Some(*role),
            _ => None,
        };
        driven.actions.iter().filter_map(role).collect()
    };
    assert_eq!(fetched(&driven), []);
    assert!(matches!(driven.shown, LendingPhase::Retrying { retry_ms: 5_000, .. }));
    driven.pass(Duration::from_secs(5));
    assert_eq!(fetched(&driven), [0, 1, 2].map(BlobRole::Layer));
}

#[test]
fn a_machine_that_cannot_hold_its_part_says_so_and_steps_back() {
    for failure in [
        LoadFailure::Refused(LoadError::NoSuchPart(BlobRole::Head)),
        LoadFailure::Engine(EngineFailure::Lost { reason: "its memory is full".to_owned() }),
    ] {
        let mut driven = Driven::connected();
        go_to(&mut driven, "fetching parts");
        driven.loaded(BlobRole::Head, Err(failure));
        assert!(matches!(driven.shown, LendingPhase::Failed { .. }), "{:?}", driven.shown);
        assert_eq!(driven.running, Running::default());
    }
}

#[test]
fn what_is_not_assigned_any_more_is_not_fetched_any_more() {
    let mut driven = Driven::connected();
    go_to(&mut driven, "fetching parts");
    driven.actions.clear();
    driven.assign(LayerRange { first: 0, end: 1 });
    let cancelled = |action: Action| match action {
        Action::CancelBlob { role, .. } => Some(role),
        _ => None,
    };
    let cancelled: Vec<BlobRole> = driven.actions.drain(..).filter_map(cancelled).collect();
    assert_eq!(cancelled, [BlobRole::Layer(1), BlobRole::Layer(2), BlobRole::Head]);
    // One of them was in the engine already by then.
    driven.loaded(BlobRole::Layer(1), Ok(()));
    let unloads = |action: &Action| matches!(action, Action::Unload { role: BlobRole::Layer(1) });
    assert!(driven.actions.iter().any(unloads), "{:?}", driven.actions);
    driven.receive(&FromServer::Assign { model: FIRST, lease: None });
    assert_eq!(driven.shown, LendingPhase::Waiting);
    driven.handle(Input::Command(Command::StopLending));
    assert_eq!(driven.running, Running::default());
}

#[test]
fn a_question_keeps_the_manifest_that_a_volunteer_wanted_as_well() {
    let mut driven = Driven::connected();
    go_to(&mut driven, "fetching the manifest");
    driven.ask(1, "first");
    driven.actions.clear();
    driven.handle(Input::Command(Command::StopLending));
    let last = driven.actions.iter().rev().find_map(|action| match action {
        Action::FetchManifest { .. } => Some("fetched"),
        Action::CancelManifest { .. } => Some("cancelled"),
        _ => None,
    });
    assert_eq!(last, Some("fetched"), "{:?}", driven.actions);
}
