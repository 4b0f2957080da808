//! A link that is lost, a server that is silent, and what a node shows when it is back.

use super::*;

/// As the server of these tests names it.
const HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_MS as u64);

fn heartbeats(sent: &[ToServer]) -> usize {
    sent.iter().filter(|message| **message == ToServer::Heartbeat).count()
}

fn dials(driven: &Driven) -> usize {
    let dials =
        |action: &&Action| matches!(action, Action::Transport(net::Command::OpenServer { .. }));
    driven.actions.iter().filter(dials).count()
}

/// Why the link was lost, each time that it was.
fn losses(driven: &Driven) -> Vec<String> {
    let loss = |action: &Action| match action {
        Action::Notice(Notice::Link(Link::Lost { reason, .. })) => Some(reason.clone()),
        _ => None,
    };
    driven.actions.iter().filter_map(loss).collect()
}

#[test]
fn a_quiet_node_sends_heartbeats_and_a_server_that_answers_is_kept() {
    let mut driven = Driven::connected();
    driven.actions.clear();
    for _ in 0..10 {
        driven.pass(HEARTBEAT);
        assert_eq!(heartbeats(&driven.sent()), 1);
        driven.receive(&FromServer::Heartbeat);
    }
    assert_eq!((losses(&driven), dials(&driven)), (Vec::new(), 0));
}

#[test]
fn a_silent_server_is_given_up_and_dialled_again() {
    let mut driven = Driven::connected();
    driven.actions.clear();
    driven.pass(HEARTBEAT * 4 - TICK);
    assert_eq!((losses(&driven).len(), dials(&driven)), (0, 0), "a pause of some seconds is none");
    driven.pass(TICK);
    assert_eq!(losses(&driven), ["the server has been silent for 20 s"]);
    driven.pass(Duration::from_secs(1));
    assert_eq!(dials(&driven), 1, "with a short wait at first");
    driven.welcome();
    driven.actions.clear();
    driven.pass(HEARTBEAT);
    assert_eq!(heartbeats(&driven.sent()), 1, "as if nothing had been");
}

#[test]
fn a_node_that_slept_asks_the_server_at_once_and_believes_no_dead_socket() {
    let mut driven = Driven::connected();
    driven.actions.clear();
    driven.handle(Input::Woke);
    assert_eq!(heartbeats(&driven.sent()), 1);
    driven.receive(&FromServer::Heartbeat);
    driven.pass(Duration::from_secs(4));
    assert_eq!(losses(&driven).len(), 0, "the socket lives");
    driven.handle(Input::Woke);
    driven.pass(Duration::from_secs(4));
    assert_eq!((losses(&driven).len(), dials(&driven)), (1, 1), "it does not");
}

#[test]
fn refused_for_now_it_comes_back_and_refused_for_good_it_says_why() {
    let mut driven = Driven::connected();
    driven.actions.clear();
    let reason = "the handshake took too long".to_owned();
    driven.receive(&FromServer::Refused { reason, retry_after_ms: Some(3_000) });
    assert_eq!(losses(&driven), ["the handshake took too long"]);
    driven.pass(Duration::from_millis(2_750));
    assert_eq!(dials(&driven), 0, "not before the server wants it");
    driven.pass(Duration::from_secs(2));
    assert_eq!(dials(&driven), 1);
    driven.welcome();
    driven.actions.clear();
    let reason = "this identity connected elsewhere".to_owned();
    driven.receive(&FromServer::Refused { reason: reason.clone(), retry_after_ms: None });
    let refusal = Action::Notice(Notice::Link(Link::Refused { reason }));
    assert!(driven.actions.iter().any(|action| format!("{action:?}") == format!("{refusal:?}")));
    driven.pass(Duration::from_secs(3_600));
    assert_eq!(dials(&driven), 0, "it would only be thrown out again, or throw out the other");
}

#[test]
fn running_answers_outlive_a_refusal_for_now_and_questions_wait() {
    let mut driven = Driven::connected();
    driven.ask(1, "first");
    let reason = "busy".to_owned();
    driven.receive(&FromServer::Refused { reason, retry_after_ms: Some(1_000) });
    driven.pass(Duration::from_secs(2));
    assert_eq!(driven.failures(), []);
}

/// What the node showed and said when it registered, since the last look.
fn leases(sent: &[ToServer]) -> Vec<Option<SignedLease>> {
    let lease = |message: &ToServer| match message {
        ToServer::Register { lease, .. } => Some(lease.clone()),
        _ => None,
    };
    sent.iter().filter_map(lease).collect()
}

#[test]
fn after_a_restart_of_the_server_it_shows_its_lease_and_says_what_is_ready() {
    let mut driven = Driven::serving(&synthetic());
    let lease = driven.lease(FIRST, ALL, 7);
    driven.actions.clear();
    driven.receive(&FromServer::Assign { model: FIRST, lease: Some(lease.clone()) });
    let ready = ToServer::LayersReady { model: FIRST, layers: ALL };
    assert_eq!(
        driven.sent(),
        std::slice::from_ref(&ready),
        "a renewed lease is answered, and changes nothing"
    );
    driven.reconnect();
    let sent = driven.sent();
    assert_eq!(leases(&sent), [Some(lease)]);
    assert!(sent.contains(&ready), "{sent:?}");
}

#[test]
fn a_lease_of_another_node_or_model_is_nobodys_word() {
    let mut driven = Driven::serving(&synthetic());
    let own = driven.assignment_shown();
    let mut foreign = driven.lease(FIRST, LayerRange { first: 0, end: 1 }, 7).lease;
    foreign.node = NodeId([3; 32]);
    let other_model = driven.lease(SECOND, LayerRange { first: 0, end: 1 }, 7).lease;
    for lease in [foreign, other_model] {
        driven.actions.clear();
        let lease = Some(SignedLease::new(&server(), lease));
        driven.receive(&FromServer::Assign { model: FIRST, lease });
        assert!(driven.sent().is_empty());
        assert_eq!(driven.shown, LendingPhase::Serving);
    }
    assert_eq!(driven.assignment_shown(), own);
}

#[test]
fn an_assignment_that_is_over_is_shown_no_more() {
    let mut driven = Driven::serving(&synthetic());
    driven.receive(&FromServer::Assign { model: FIRST, lease: None });
    assert_eq!(driven.assignment_shown(), None);
}

#[test]
fn an_unchanged_registration_is_not_sent_again() {
    let mut driven = Driven::serving(&synthetic());
    assert_eq!(driven.registrations(), [("webgpu".to_owned(), ENGINE_MACS_PER_MS)]);
    driven.machine(MachineEvent::EngineReplaced(engine("webgpu", ENGINE_MACS_PER_MS)));
    // Not so long that the server, which says nothing, counts as gone.
    driven.pass(HEARTBEAT * 3);
    assert_eq!(driven.registrations(), []);
    driven.reconnect();
    assert_eq!(driven.registrations().len(), 1, "the server may have forgotten it");
}

#[test]
fn what_its_steps_take_is_reported_and_not_registered() {
    let mut driven = Driven::serving(&synthetic());
    let me = driven.node.id();
    driven.serve(session(me, me));
    driven.actions.clear();
    for position in 0..10 {
        driven.machine(MachineEvent::Computed(StepResult {
            session: SessionId([5; 16]),
            position,
            rows: 1,
            sampling: None,
            output: Ok(Output::None),
            elapsed: Duration::from_secs(1),
        }));
    }
    driven.pass(Duration::from_secs(60));
    let sent = driven.sent();
    assert!(!sent.iter().any(|message| matches!(message, ToServer::Register { .. })), "{sent:?}");
    let reported = sent.iter().any(|message| {
        matches!(message, ToServer::Report(report) if report.us_per_token_p50 == 1_000_000)
    });
    assert!(reported, "{sent:?}");
}
