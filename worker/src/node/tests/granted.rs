//! Nothing is fetched, registered or computed but under the person's grant, and nothing beyond it.

use potluck_protocol::grant::{
    DAY_S, Grant, GrantFault, GrantedModels, Limits, MAX_GRANT_S, Place, SignedGrant,
};
use potluck_protocol::page::Granted;

use super::*;

const REQUESTER: NodeId = NodeId([8; 32]);
const SESSION: SessionId = SessionId([5; 16]);

fn lend(driven: &mut Driven, terms: Terms) {
    driven.handle(Input::Command(Command::Lend { backend: BackendPreference::Auto, terms }));
}

/// Of `seed`'s node, for the server that tests dial.
fn grant(seed: u8, change: impl FnOnce(&mut Grant)) -> Box<SignedGrant> {
    let identity = Identity::from_seed(&[seed; 32]);
    let terms = Terms { place: Place::Native, days: 30, ..Terms::default() };
    let mut grant = terms.grant(identity.node(), "http://test".to_owned(), TODAY.as_secs());
    change(&mut grant);
    Box::new(SignedGrant::new(&identity, grant))
}

/// What the person was shown to be lending under, since the last look.
fn granted(driven: &Driven) -> Vec<Option<Granted>> {
    let granted = |action: &Action| match action {
        Action::Notice(Notice::Grant(granted)) => Some(granted.as_deref().cloned()),
        _ => None,
    };
    driven.actions.iter().filter_map(granted).collect()
}

fn registered(sent: &[ToServer]) -> Vec<(u64, SignedGrant)> {
    let registration = |message: &ToServer| match message {
        ToServer::Register { capabilities, grant, .. } => {
            Some((capabilities.memory_bytes, (**grant).clone()))
        }
        _ => None,
    };
    sent.iter().filter_map(registration).collect()
}

/// A node that serves a session of [`REQUESTER`]'s.
fn in_session() -> Driven {
    let mut driven = Driven::serving(&synthetic());
    let me = driven.node.id();
    driven.serve(session(me, REQUESTER));
    driven.handle(Input::Transport(net::Event::PeerOpen { peer: REQUESTER }));
    driven.actions.clear();
    driven
}

fn step(driven: &mut Driven, position: u32) {
    let frame = PeerFrame::Step { session: SESSION, position, tokens: vec![3], sampling: None };
    let (channel, frame) = (frame.channel(), codec::encode(&frame));
    driven.handle(Input::Transport(net::Event::PeerFrame { peer: REQUESTER, channel, frame }));
}

fn computes(driven: &Driven) -> usize {
    driven.actions.iter().filter(|action| matches!(action, Action::Compute(_))).count()
}

#[test]
fn the_click_makes_a_grant_that_the_person_and_the_server_see() {
    let mut driven = Driven::connected();
    let me = driven.node.id();
    let limits = Limits { memory_bytes: 7 << 20, ..Limits::default() };
    let terms = Terms { limits, days: 7, ..Terms::default() };
    lend(&mut driven, terms.clone());
    let shown = granted(&driven);
    let [Some(Granted { signed, record })] = &shown[..] else { panic!("{shown:?}") };
    assert_eq!(signed.check("http://test", me, TODAY.as_secs()), Ok(()));
    assert_eq!(signed.grant.limits, terms.limits);
    assert_eq!(signed.grant.until_s, TODAY.as_secs() + 7 * DAY_S);
    assert!(record.contains(&signed.grant.id.to_string()), "{record}");
    driven.machine(MachineEvent::EngineReady(engine("webgpu", ENGINE_MACS_PER_MS)));
    assert_eq!(registered(&driven.sent()), [(7 << 20, signed.clone())]);
}

#[test]
fn the_end_comes_before_whatever_else_comes_then() {
    let mut driven = in_session();
    step(&mut driven, 0);
    assert_eq!(computes(&driven), 1);
    assert!(driven.node.may_compute(TODAY));
    let result = StepResult {
        session: SESSION,
        position: 0,
        rows: 1,
        sampling: None,
        output: Ok(Output::Token(4)),
        elapsed: Duration::from_millis(1),
    };
    driven.machine(MachineEvent::Computed(result));
    driven.actions.clear();
    // A second before, all is well; then the next step is not computed, tick or no tick.
    driven.calendar = TODAY + Duration::from_secs(MAX_GRANT_S - 1);
    step(&mut driven, 1);
    assert_eq!(computes(&driven), 1);
    driven.actions.clear();
    driven.calendar = TODAY + Duration::from_secs(MAX_GRANT_S);
    assert!(!driven.node.may_compute(driven.calendar), "nor what waits for the engine");
    step(&mut driven, 2);
    assert_eq!(computes(&driven), 0);
    assert_eq!(granted(&driven), [None]);
    let LendingPhase::Failed { reason } = &driven.shown else { panic!("{:?}", driven.shown) };
    assert!(reason.contains("not lent any more: the grant has ended"), "{reason}");
    let me = driven.node.id();
    let failed = driven.actions.iter().any(|action| match action {
        Action::Transport(net::Command::SendPeer { peer, frame, .. }) if *peer == REQUESTER => {
            matches!(codec::decode_peer_frame(frame), Ok(PeerFrame::Failed { failed_node, .. })
                if failed_node == Some(me))
        }
        _ => false,
    });
    assert!(failed, "the requester goes on without it: {:?}", driven.actions);
    let sent = driven.sent();
    let ended = sent.iter().any(|message| {
        matches!(message, ToServer::EndSession { failed_node, .. } if *failed_node == Some(me))
    });
    assert!(ended && sent.contains(&ToServer::Deregister), "{sent:?}");
}

#[test]
fn a_machine_that_slept_past_the_end_does_nothing_when_it_wakes() {
    let mut driven = in_session();
    driven.calendar = TODAY + Duration::from_secs(MAX_GRANT_S);
    driven.handle(Input::Woke);
    assert!(matches!(driven.shown, LendingPhase::Failed { .. }), "{:?}", driven.shown);
    assert_eq!(driven.running, Running::default());
}

#[test]
fn a_grant_that_does_not_hold_starts_nothing_and_says_why() {
    let forged = |mut it: Box<SignedGrant>| {
        it.grant.limits.memory_bytes += 1;
        it
    };
    for (given, fault) in [
        (grant(8, |_| ()), GrantFault::OtherNode),
        (forged(grant(9, |_| ())), GrantFault::NotSigned),
        (grant(9, |it| it.to = "http://other".to_owned()), GrantFault::OtherServer),
        (grant(9, |it| it.until_s = TODAY.as_secs()), GrantFault::Duration),
        (
            grant(9, |it| {
                it.given_s -= DAY_S;
                it.until_s = TODAY.as_secs();
            }),
            GrantFault::Ended,
        ),
        (
            grant(9, |it| {
                it.given_s += DAY_S;
                it.until_s += DAY_S;
            }),
            GrantFault::FromTheFuture,
        ),
        (grant(9, |it| it.until_s = it.given_s + MAX_GRANT_S + 1), GrantFault::Duration),
    ] {
        let mut driven = Driven::connected();
        driven.actions.clear();
        let backend = BackendPreference::Auto;
        driven.handle(Input::Command(Command::LendAgain { backend, grant: given }));
        let LendingPhase::Failed { reason } = &driven.shown else { panic!("{:?}", driven.shown) };
        assert!(reason.contains(&fault.to_string()), "{reason}");
        assert_eq!(driven.running, Running::default(), "{fault}");
        assert_eq!(granted(&driven), [], "{fault}");
    }
    // Nor does one that nobody could make: for no days, or for more than there may be.
    for days in [0, 91] {
        let mut driven = Driven::connected();
        lend(&mut driven, Terms { days, ..Terms::default() });
        assert!(matches!(driven.shown, LendingPhase::Failed { .. }), "{:?}", driven.shown);
    }
}

#[test]
fn a_grant_that_was_kept_is_the_one_that_is_lent_under() {
    let mut driven = Driven::connected();
    let kept = grant(9, |it| it.given_s -= 20 * DAY_S);
    let backend = BackendPreference::Auto;
    driven.handle(Input::Command(Command::LendAgain { backend, grant: kept.clone() }));
    assert_eq!(driven.shown, LendingPhase::Starting);
    driven.machine(MachineEvent::EngineReady(engine("webgpu", ENGINE_MACS_PER_MS)));
    let sent = driven.sent();
    assert_eq!(registered(&sent), [(kept.grant.limits.memory_bytes, *kept)], "and no new one");
}

#[test]
fn other_limits_are_another_grant_until_the_same_day() {
    let mut driven = Driven::serving(&synthetic());
    let [Some(first)] = &granted(&driven)[..] else { panic!("{:?}", granted(&driven)) };
    let first = first.signed.clone();
    driven.actions.clear();
    driven.calendar += Duration::from_secs(60);
    let limits = Limits { memory_bytes: 2 << 30, gpu_percent: 60, ..Limits::default() };
    driven.handle(Input::Command(Command::SetLimits(limits.clone())));
    let [Some(second)] = &granted(&driven)[..] else { panic!("{:?}", granted(&driven)) };
    let second = second.signed.clone();
    assert_eq!(second.grant.limits, limits);
    assert_eq!(second.grant.until_s, first.grant.until_s, "no longer than was agreed on");
    assert_ne!(second.grant.id, first.grant.id);
    assert_eq!(registered(&driven.sent()), [(2 << 30, second.clone())]);
    // Limits that nothing could be computed within change nothing, and the person sees that.
    let nothing = Limits { gpu_percent: 0, ..Limits::default() };
    driven.handle(Input::Command(Command::SetLimits(nothing)));
    let shown = granted(&driven);
    assert!(matches!(&shown[..], [Some(it)] if it.signed == second), "{shown:?}");
    assert_eq!(registered(&driven.sent()), []);
}

#[test]
fn a_model_that_was_not_named_is_not_fetched() {
    let mut driven = Driven::connected();
    let models = GrantedModels::These(vec![SECOND]);
    lend(&mut driven, Terms { models, ..Terms::default() });
    driven.machine(MachineEvent::EngineReady(engine("webgpu", ENGINE_MACS_PER_MS)));
    driven.actions.clear();
    driven.assign(ALL);
    let fetches = |action: &Action| matches!(action, Action::FetchManifest { .. });
    assert!(!driven.actions.iter().any(fetches), "{:?}", driven.actions);
    let LendingPhase::Failed { reason } = &driven.shown else { panic!("{:?}", driven.shown) };
    assert!(reason.contains(&GrantFault::OtherModel.to_string()), "{reason}");
    assert_eq!(driven.running, Running::default());
}

#[test]
fn more_memory_than_was_lent_is_not_filled() {
    let mut driven = Driven::connected();
    let model = synthetic();
    let blobs = model.manifest.blobs_for(ALL.indices());
    let needed: u64 = blobs.iter().map(|(_, blob)| blob.size_bytes).sum();
    for memory_bytes in [needed, needed - 1] {
        let limits = Limits { memory_bytes, ..Limits::default() };
        lend(&mut driven, Terms { limits, ..Terms::default() });
        driven.machine(MachineEvent::EngineReady(engine("webgpu", ENGINE_MACS_PER_MS)));
        driven.assign(ALL);
        driven.actions.clear();
        let result = Ok(Arc::new(model.manifest.clone()));
        driven.machine(MachineEvent::Manifest { model: FIRST, result });
        let fetched =
            driven.actions.iter().filter(|it| matches!(it, Action::FetchBlob { .. })).count();
        if memory_bytes == needed {
            assert_eq!(fetched, blobs.len());
            driven.handle(Input::Command(Command::StopLending));
            driven.node.context.library.manifests.clear();
        } else {
            assert_eq!(fetched, 0);
            assert!(matches!(driven.shown, LendingPhase::Failed { .. }), "{:?}", driven.shown);
        }
    }
}

#[test]
fn stop_takes_the_grant_back() {
    let mut driven = in_session();
    driven.handle(Input::Command(Command::StopLending));
    assert_eq!(granted(&driven), [None]);
    assert!(!driven.node.may_compute(driven.calendar));
    assert!(driven.sent().contains(&ToServer::Deregister));
    step(&mut driven, 0);
    assert_eq!(computes(&driven), 0);
}
