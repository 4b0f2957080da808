//! A lent machine that is needed for something else: at once nothing is computed and nothing fetched,
//! the server and the requesters know, the person sees why, and it goes on by itself.

use potluck_protocol::grant::{DEFAULT_DATA_BYTES_A_DAY, Power};
use potluck_protocol::page::{Conditions, PauseReason, Pressure};

use super::consent::{PLACES, REQUESTER, go_to, live_on};
use super::*;

/// Why it rests, how that begins, and how it ends.
type Pause = (PauseReason, fn(&mut Driven), fn(&mut Driven));

const FINE: Conditions = Conditions {
    hidden: false,
    on_battery: Some(false),
    save_data: false,
    metered: Some(false),
    pressure: Pressure::Nominal,
    dropping_frames: false,
    phone: false,
};

const PAUSES: [Pause; 10] = [
    (
        PauseReason::Asked,
        |it| it.handle(Input::Command(Command::Pause)),
        |it| it.handle(Input::Command(Command::Resume)),
    ),
    (
        PauseReason::TimeIsUp,
        |it| it.pass_linked(Duration::from_secs(30 * 60)),
        |it| it.handle(Input::Command(Command::Extend)),
    ),
    (PauseReason::Phone, |it| it.see(|seen| seen.phone = true), Driven::see_nothing),
    (PauseReason::Hidden, |it| it.see(|seen| seen.hidden = true), Driven::see_nothing),
    (PauseReason::Battery, |it| it.see(|seen| seen.on_battery = Some(true)), Driven::see_nothing),
    (PauseReason::SaveData, |it| it.see(|seen| seen.save_data = true), Driven::see_nothing),
    (PauseReason::Metered, |it| it.see(|seen| seen.metered = Some(true)), Driven::see_nothing),
    (
        PauseReason::Pressure,
        |it| it.see(|seen| seen.pressure = Pressure::Critical),
        Driven::see_nothing,
    ),
    (PauseReason::Frames, |it| it.see(|seen| seen.dropping_frames = true), Driven::see_nothing),
    (
        PauseReason::DataBudget,
        |it| it.machine(MachineEvent::Fetched { bytes: DEFAULT_DATA_BYTES_A_DAY }),
        |it| {
            let data_bytes_a_day = 2 * DEFAULT_DATA_BYTES_A_DAY;
            let limits = Limits { data_bytes_a_day, ..Limits::default() };
            it.handle(Input::Command(Command::SetLimits(limits)));
        },
    ),
];

/// Longer than anything here waits for what wavers, and less than an hour's half.
const A_MINUTE: Duration = Duration::from_secs(60);

impl Driven {
    fn see(&mut self, change: fn(&mut Conditions)) {
        let mut seen = FINE;
        change(&mut seen);
        self.handle(Input::Command(Command::Conditions(seen)));
    }

    /// What was seen passes.
    fn see_nothing(&mut self) {
        self.see(|_| {});
        self.pass_linked(A_MINUTE);
    }

    /// Lets time pass, in which the server is there.
    fn pass_linked(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.pass(Duration::from_secs(5).min(until - self.now));
            self.receive(&FromServer::Heartbeat);
        }
    }

    /// Everything that may still come in, and time in which to do something.
    fn live_on_linked(&mut self) {
        let me = self.node.id();
        self.assign(ALL);
        self.serve(session(me, REQUESTER));
        self.pass_linked(Duration::from_secs(600));
    }

    /// Shares of its speed that the server was told since the last look.
    fn paces(&mut self) -> Vec<u8> {
        let pace = |message| match message {
            ToServer::Pace { percent } => Some(percent),
            _ => None,
        };
        self.sent().into_iter().filter_map(pace).collect()
    }

    /// The engine that was started, and parts that are on their way, come.
    fn catch_up(&mut self) {
        if self.shown == LendingPhase::Starting {
            self.machine(MachineEvent::EngineReady(engine("webgpu", ENGINE_MACS_PER_MS)));
        }
    }
}

fn paused(why: PauseReason) -> LendingPhase {
    LendingPhase::Paused { why }
}

#[test]
fn at_every_place_every_pause_stops_everything_and_everything_goes_on_after_it() {
    for (place, go) in PLACES {
        for (why, begin, end) in PAUSES {
            let mut driven = Driven::connected();
            go(&mut driven);
            if why == PauseReason::TimeIsUp {
                // Half an hour is longer than a retry, or a session that nothing is asked of.
                driven.see(|_| {});
            }
            let shown = driven.shown.clone();
            driven.actions.clear();
            begin(&mut driven);
            assert_eq!(driven.shown, paused(why), "{place}, {why:?}");
            assert!(!driven.running.is_working(), "{place}, {why:?}: {:?}", driven.running);
            let had_engine = shown != LendingPhase::Starting;
            assert_eq!(driven.running.has_engine(), had_engine, "{place}, {why:?}");
            let paces = driven.paces();
            let told: &[u8] = if had_engine { &[0] } else { &[] };
            assert_eq!(paces, told, "{place}, {why:?}: the server knows at once");
            // Whatever comes in, and however long it lasts.
            if why != PauseReason::TimeIsUp {
                driven.live_on_linked();
                assert!(!driven.running.is_working(), "{place}, {why:?}, and then");
                assert_eq!(driven.shown, paused(why), "{place}, {why:?}, and then");
            }
            driven.actions.clear();
            end(&mut driven);
            driven.catch_up();
            assert!(!matches!(driven.shown, LendingPhase::Paused { .. }), "{place}, {why:?}");
            assert!(driven.running.has_engine(), "{place}, {why:?}");
            assert_eq!(driven.paces().first(), Some(&30), "{place}, {why:?}: and is told again");
        }
    }
}

#[test]
fn a_machine_that_is_lent_in_a_pause_starts_nothing_before_its_end() {
    for (why, begin, end) in PAUSES {
        if matches!(why, PauseReason::Asked | PauseReason::TimeIsUp) {
            continue; // these are of a machine that is lent
        }
        let mut driven = Driven::connected();
        begin(&mut driven);
        driven.lend();
        assert_eq!(driven.shown, paused(why));
        assert_eq!(driven.running, Running::default(), "{why:?}");
        end(&mut driven);
        assert_eq!(driven.shown, LendingPhase::Starting, "{why:?}");
        driven.catch_up();
        assert_eq!(driven.shown, LendingPhase::Waiting);
    }
}

#[test]
fn a_stop_in_a_pause_is_a_stop() {
    for (place, go) in PLACES {
        for (why, begin, end) in PAUSES {
            let mut driven = Driven::connected();
            go(&mut driven);
            begin(&mut driven);
            driven.handle(Input::Command(Command::StopLending));
            assert_eq!(driven.shown, LendingPhase::Idle, "{place}, {why:?}");
            end(&mut driven);
            live_on(&mut driven);
            assert_eq!(driven.running, Running::default(), "{place}, {why:?}");
        }
    }
}

#[test]
fn what_was_seen_before_a_stop_is_not_held_against_the_next_yes() {
    let mut driven = Driven::connected();
    go_to(&mut driven, "serving");
    driven.see(|seen| seen.dropping_frames = true);
    driven.handle(Input::Command(Command::StopLending));
    driven.lend();
    assert_eq!(driven.shown, LendingPhase::Starting);
}

#[test]
fn a_pause_hands_what_is_computed_over_in_order() {
    let mut driven = Driven::connected();
    go_to(&mut driven, "computing a step");
    driven.actions.clear();
    driven.handle(Input::Command(Command::Pause));
    let me = driven.node.id();
    let mut told = Vec::new();
    for action in std::mem::take(&mut driven.actions) {
        match action {
            Action::Transport(net::Command::SendServer { message }) => {
                match codec::decode_to_server(&message).unwrap() {
                    ToServer::Pace { percent } => told.push(format!("pace {percent}")),
                    ToServer::EndSession { failed_node, .. } => {
                        assert_eq!(failed_node, Some(me));
                        told.push("server".to_owned());
                    }
                    _ => {}
                }
            }
            Action::Transport(net::Command::SendPeer { peer, frame, .. }) => {
                let frame = codec::decode_peer_frame(&frame).unwrap();
                let PeerFrame::Failed { reason, failed_node, .. } = frame else { continue };
                assert_eq!((peer, failed_node), (REQUESTER, Some(me)));
                assert!(reason.ends_with("has paused"), "and not why: {reason}");
                told.push("requester".to_owned());
            }
            Action::CloseSession { .. } => told.push("engine".to_owned()),
            _ => {}
        }
    }
    assert_eq!(told, ["pace 0", "server", "requester", "engine"]);
    // What the engine was in the middle of is nobody's any more.
    driven.machine(MachineEvent::Computed(StepResult {
        session: SessionId([5; 16]),
        position: 0,
        rows: 1,
        sampling: None,
        output: Ok(Output::Token(4)),
        elapsed: Duration::from_millis(1),
    }));
    let sends =
        |action: &Action| matches!(action, Action::Transport(net::Command::SendPeer { .. }));
    assert!(!driven.actions.iter().any(sends), "{:?}", driven.actions);
}

#[test]
fn a_new_link_hears_of_a_pause_before_it_hears_of_layers() {
    let mut driven = Driven::connected();
    go_to(&mut driven, "serving");
    driven.handle(Input::Command(Command::Pause));
    driven.reconnect();
    let kinds: Vec<&str> = driven
        .sent()
        .iter()
        .filter_map(|message| match message {
            ToServer::Register { .. } => Some("register"),
            ToServer::Pace { percent: 0 } => Some("paused"),
            ToServer::LayersReady { .. } => Some("ready"),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, ["register", "paused", "ready"]);
}

#[test]
fn the_share_is_that_of_the_grant_and_the_server_and_the_engine_know_it() {
    let mut driven = Driven::connected();
    go_to(&mut driven, "waiting");
    let shares = |driven: &mut Driven| -> Vec<u8> {
        let share = |action: &Action| match action {
            Action::SetShare { percent } => Some(*percent),
            _ => None,
        };
        driven.actions.iter().filter_map(share).collect()
    };
    assert_eq!(shares(&mut driven), [30]);
    assert_eq!(driven.paces(), [30]);
    let limits = Limits { gpu_percent: 75, power: Power::Any, ..Limits::default() };
    driven.handle(Input::Command(Command::SetLimits(limits)));
    assert_eq!(shares(&mut driven), [75]);
    assert_eq!(driven.paces(), [75]);
    // One thread of four, of which all is given, has nothing to rest for.
    let device = Device::Processor { threads: 1, cores: 4 };
    let slower = EngineDescription { device, ..engine("simd128", 7_000) };
    driven.machine(MachineEvent::EngineReplaced(slower));
    assert_eq!(shares(&mut driven), [100]);
    assert_eq!(driven.paces(), [100]);
}

#[test]
fn weights_beyond_the_days_data_are_not_downloaded_but_copies_are_used() {
    let model = synthetic();
    let blobs = model.manifest.blobs_for(ALL.indices());
    let sizes: Vec<u64> = blobs.iter().map(|(_, blob)| blob.size_bytes).collect();
    let all: u64 = sizes.iter().sum();
    let mut driven = Driven::connected();
    driven.lend_within(Limits { data_bytes_a_day: all - 1, ..Limits::default() });
    driven.machine(MachineEvent::EngineReady(engine("webgpu", ENGINE_MACS_PER_MS)));
    driven.assign(ALL);
    driven.actions.clear();
    let result = Ok(Arc::new(model.manifest.clone()));
    driven.machine(MachineEvent::Manifest { model: FIRST, result });
    let wanted: Vec<(BlobRole, bool)> = driven
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::FetchBlob { role, may_download, .. } => Some((*role, *may_download)),
            _ => None,
        })
        .collect();
    let withheld: Vec<BlobRole> =
        wanted.iter().filter(|(_, may)| !may).map(|(role, _)| *role).collect();
    assert_eq!((wanted.len(), withheld.len()), (blobs.len(), 1), "{wanted:?}");
    for (role, blob) in &blobs {
        if withheld.contains(role) {
            driven.loaded(*role, Err(LoadFailure::Withheld));
        } else {
            driven.machine(MachineEvent::Fetched { bytes: blob.size_bytes });
            driven.loaded(*role, Ok(()));
        }
    }
    assert_eq!(driven.shown, paused(PauseReason::DataBudget));
    assert!(!driven.running.is_working());
    // Tomorrow there is more of it.
    driven.actions.clear();
    driven.calendar += Duration::from_secs(24 * 3_600);
    driven.pass(TICK);
    assert_eq!(driven.shown, LendingPhase::Fetching);
    let is_wanted = |action: &Action| matches!(action, Action::FetchBlob { role, may_download: true, .. } if *role == withheld[0]);
    assert!(driven.actions.iter().any(is_wanted), "{:?}", driven.actions);
    driven.loaded(withheld[0], Ok(()));
    assert_eq!(driven.shown, LendingPhase::Serving);
}

#[test]
fn what_was_spent_of_the_day_is_kept_for_the_next_node_here() {
    let mut driven = Driven::connected();
    driven.lend();
    driven.machine(MachineEvent::Fetched { bytes: DEFAULT_DATA_BYTES_A_DAY });
    let kept = driven.actions.iter().rev().find_map(|action| match action {
        Action::KeepBudget { line } => Some(line.clone()),
        _ => None,
    });
    let mut next = Driven::connected();
    next.lend();
    assert_eq!(next.shown, LendingPhase::Starting);
    next.machine(MachineEvent::KeptBudget { line: kept.unwrap() });
    assert_eq!(next.shown, paused(PauseReason::DataBudget));
}

#[test]
fn energy_and_bytes_are_counted_from_the_start_of_lending() {
    let mut driven = Driven::connected();
    go_to(&mut driven, "computing a step");
    driven.machine(MachineEvent::Fetched { bytes: 1_000 });
    driven.machine(MachineEvent::Computed(StepResult {
        session: SessionId([5; 16]),
        position: 0,
        rows: 1,
        sampling: None,
        output: Ok(Output::Token(4)),
        elapsed: Duration::from_secs(60),
    }));
    driven.pass(Duration::from_secs(1));
    let lending = |driven: &Driven| {
        let lending = |action: &Action| match action {
            Action::Notice(Notice::Lending(lending)) => Some(lending.clone()),
            _ => None,
        };
        driven.actions.iter().rev().find_map(lending).unwrap()
    };
    let seen = lending(&driven);
    // A minute of a graphics processor that is taken to need 60 W.
    assert_eq!(seen.milliwatt_hours, 1_000);
    assert!(seen.received_bytes > 1_000 && seen.sent_bytes > 0, "{seen:?}");
    assert_eq!(seen.share_percent, 30);
    driven.handle(Input::Command(Command::StopLending));
    driven.lend();
    let seen = lending(&driven);
    assert_eq!((seen.milliwatt_hours, seen.received_bytes, seen.sent_bytes), (0, 0, 0));
}
