//! What a peer connection does, step by step, without one.

use super::super::reassembler::MAX_CHUNK_BYTES;
use super::super::{HIGH_WATER_BYTES, LOW_WATER_BYTES};
use super::*;

const PEER: NodeId = NodeId([7; 32]);
const NOW: Duration = Duration::from_secs(100);

fn session(role: Role) -> PeerSession {
    let mut session = PeerSession::new(PEER, role, Limits::default());
    let begun = session.handle(Input::Start, NOW);
    assert_eq!(begun, if role == Role::Offers { vec![Action::Offer] } else { vec![] });
    session
}

fn open(role: Role) -> PeerSession {
    let mut session = session(role);
    assert_eq!(
        session.handle(Input::ChannelOpen(Channel::Activations), NOW),
        [hello(Channel::Activations)]
    );
    assert_eq!(
        session.handle(Input::ChannelOpen(Channel::Control), NOW),
        [hello(Channel::Control)]
    );
    assert_eq!(received(&mut session), [Action::Report(Event::PeerOpen { peer: PEER })]);
    session
}

fn hello(channel: Channel) -> Action {
    Action::Transmit(channel, vec![2])
}

/// Both channels were heard by the peer; what that leads to, beside more greetings.
fn received(session: &mut PeerSession) -> Vec<Action> {
    let mut actions = session.handle(Input::Chunk(Channel::Control, &[3]), NOW);
    actions.extend(session.handle(Input::Chunk(Channel::Activations, &[3]), NOW));
    actions.retain(|action| !matches!(action, Action::Transmit(_, word) if *word == [3]));
    actions
}

fn offer(sdp: &str) -> Input<'static> {
    Input::Remote(Signal::Offer { sdp: sdp.to_owned() })
}

fn answer(sdp: &str) -> Input<'static> {
    Input::Remote(Signal::Answer { sdp: sdp.to_owned() })
}

fn candidate(line: &str) -> Input<'static> {
    Input::Remote(Signal::Candidate {
        candidate: line.to_owned(),
        sdp_mid: None,
        sdp_m_line_index: Some(0),
    })
}

fn added(line: &str) -> Action {
    Action::AddCandidate(Candidate {
        candidate: line.to_owned(),
        sdp_mid: None,
        sdp_m_line_index: Some(0),
    })
}

fn closed(actions: &[Action]) -> &str {
    match actions {
        [Action::Report(Event::PeerClosed { peer: PEER, reason }), Action::Close] => reason,
        other => panic!("not closed: {other:?}"),
    }
}

fn transmitted(actions: &[Action]) -> usize {
    actions
        .iter()
        .map(|action| if let Action::Transmit(_, chunk) = action { chunk.len() } else { 0 })
        .sum()
}

#[test]
fn candidates_wait_for_the_description() {
    let mut answers = session(Role::Answers);
    assert_eq!(answers.handle(candidate("a"), NOW), []);
    let expected = [Action::Answer { offer: "o".to_owned(), fresh: false }, added("a")];
    assert_eq!(answers.handle(offer("o"), NOW), expected);
    assert_eq!(answers.handle(candidate("b"), NOW), [added("b")]);

    let mut offers = session(Role::Offers);
    assert_eq!(offers.handle(candidate("a"), NOW), []);
    assert_eq!(
        offers.handle(answer("s"), NOW),
        [Action::Accept { answer: "s".to_owned() }, added("a")]
    );
}

#[test]
fn candidates_are_bounded() {
    let mut session = session(Role::Answers);
    for _ in 0..10 * MAX_CANDIDATES {
        session.handle(candidate("a"), NOW);
    }
    assert_eq!(session.handle(offer("o"), NOW).len(), 1 + MAX_CANDIDATES);
    assert_eq!(session.handle(candidate("a"), NOW), []);
}

#[test]
fn descriptions_out_of_place_change_nothing() {
    let mut offers = session(Role::Offers);
    assert_eq!(offers.handle(offer("o"), NOW), []);
    offers.handle(answer("s"), NOW);
    assert_eq!(offers.handle(answer("t"), NOW), []);
    let mut answers = session(Role::Answers);
    assert_eq!(answers.handle(answer("s"), NOW), []);
    answers.handle(offer("o"), NOW);
    assert_eq!(answers.handle(offer("o"), NOW), [], "the same offer twice");
}

#[test]
fn a_peer_that_offers_anew_gets_a_new_connection_and_what_was_queued() {
    let mut session = open(Role::Answers);
    session.handle(offer("o"), NOW);
    session.handle(Input::Buffered(Channel::Control, HIGH_WATER_BYTES), NOW);
    assert_eq!(session.handle(Input::Send(Channel::Control, vec![1]), NOW), []);
    assert_eq!(
        session.handle(offer("p"), NOW),
        [Action::Answer { offer: "p".to_owned(), fresh: true }]
    );
    session.handle(Input::ChannelOpen(Channel::Control), NOW);
    session.handle(Input::ChannelOpen(Channel::Activations), NOW);
    let actions = received(&mut session);
    assert_eq!(actions[0], Action::Report(Event::PeerOpen { peer: PEER }));
    assert_eq!(actions[1], Action::Transmit(Channel::Control, vec![1, 1, 0, 0, 0, 1]));
}

#[test]
fn frames_queue_until_both_channels_carry_and_then_go_out_in_order() {
    let mut session = session(Role::Offers);
    assert_eq!(session.handle(Input::Send(Channel::Control, vec![1]), NOW), []);
    assert_eq!(session.handle(Input::Send(Channel::Control, vec![2]), NOW), []);
    session.handle(Input::ChannelOpen(Channel::Control), NOW);
    session.handle(Input::ChannelOpen(Channel::Activations), NOW);
    let actions = received(&mut session);
    let sent = |byte| Action::Transmit(Channel::Control, vec![1, 1, 0, 0, 0, byte]);
    assert_eq!(actions, [Action::Report(Event::PeerOpen { peer: PEER }), sent(1), sent(2)]);
}

#[test]
fn frames_that_come_before_the_second_channel_opens_are_told_after_it() {
    let mut session = session(Role::Answers);
    session.handle(Input::ChannelOpen(Channel::Control), NOW);
    assert_eq!(session.handle(Input::Chunk(Channel::Control, &[1, 1, 0, 0, 0, 9]), NOW), []);
    session.handle(Input::ChannelOpen(Channel::Activations), NOW);
    let told = received(&mut session);
    let frame = Event::PeerFrame { peer: PEER, channel: Channel::Control, frame: vec![9] };
    assert_eq!(told, [Action::Report(Event::PeerOpen { peer: PEER }), Action::Report(frame)]);
}

#[test]
fn nothing_is_sent_where_the_peer_was_not_heard_and_greetings_go_on_until_it_is() {
    let mut session = session(Role::Offers);
    session.handle(Input::ChannelOpen(Channel::Control), NOW);
    session.handle(Input::ChannelOpen(Channel::Activations), NOW);
    assert_eq!(session.handle(Input::Send(Channel::Control, vec![1]), NOW), []);
    assert_eq!(
        session.handle(Input::Tick, NOW),
        [hello(Channel::Control), hello(Channel::Activations)]
    );
    let answered = session.handle(Input::Chunk(Channel::Control, &[2]), NOW);
    assert_eq!(answered, [Action::Transmit(Channel::Control, vec![3])]);
    assert_eq!(
        session.handle(Input::Tick, NOW),
        [Action::Transmit(Channel::Control, vec![3]), hello(Channel::Activations)]
    );
    let opened = received(&mut session);
    assert_eq!(opened[0], Action::Report(Event::PeerOpen { peer: PEER }));
    assert_eq!(transmitted(&opened), 6, "the frame that waited");
    assert_eq!(session.handle(Input::Tick, NOW), []);
}

#[test]
fn a_full_channel_stops_the_flow_and_a_drained_one_starts_it() {
    let mut session = open(Role::Offers);
    let frame_bytes = 4 * HIGH_WATER_BYTES;
    let mut sent =
        transmitted(&session.handle(Input::Send(Channel::Activations, vec![0; frame_bytes]), NOW));
    assert!((HIGH_WATER_BYTES..HIGH_WATER_BYTES + MAX_CHUNK_BYTES).contains(&sent));
    let control = session.handle(Input::Send(Channel::Control, vec![5]), NOW);
    assert_eq!(transmitted(&control), 6, "the other channel is not held up");
    while sent < frame_bytes {
        let more = transmitted(
            &session.handle(Input::Buffered(Channel::Activations, LOW_WATER_BYTES), NOW),
        );
        assert!(more > 0 && more <= HIGH_WATER_BYTES);
        sent += more;
    }
}

#[test]
fn a_peer_too_slow_is_closed_with_a_reason() {
    let mut session = open(Role::Offers);
    let frame = || vec![0; MAX_PEER_FRAME_BYTES];
    let mut actions = Vec::new();
    for _ in 0..=MAX_QUEUED_BYTES / MAX_PEER_FRAME_BYTES {
        assert!(!session.is_closed());
        actions = session.handle(Input::Send(Channel::Activations, frame()), NOW);
    }
    assert!(closed(&actions).contains("too slow"));
    assert_eq!(session.handle(Input::Send(Channel::Activations, frame()), NOW), []);
}

#[test]
fn a_node_that_does_not_read_is_not_flooded() {
    let mut session = open(Role::Offers);
    let flood = |session: &mut PeerSession| {
        let mut fragmenter =
            super::super::fragmenter::Fragmenter::new(vec![0; MAX_PEER_FRAME_BYTES]);
        let mut all = Vec::new();
        while let Some(chunk) = fragmenter.next_chunk() {
            all.extend(session.handle(Input::Chunk(Channel::Activations, &chunk), NOW));
        }
        all
    };
    for _ in 0..10 {
        assert_eq!(flood(&mut session).len(), 1);
        session.handle(Input::Read(MAX_PEER_FRAME_BYTES), NOW);
    }
    for _ in 0..MAX_UNREAD_BYTES / MAX_PEER_FRAME_BYTES {
        flood(&mut session);
    }
    assert!(closed(&flood(&mut session)).contains("faster"));
}

#[test]
fn malformed_chunks_close_the_peer() {
    let mut session = open(Role::Offers);
    let actions = session.handle(Input::Chunk(Channel::Control, &[77]), NOW);
    assert!(closed(&actions).contains("unknown chunk kind 77"), "{actions:?}");
}

#[test]
fn what_takes_too_long_is_given_up() {
    let limits = Limits::default();
    let almost = Duration::from_millis(1);

    let mut opening = session(Role::Answers);
    assert_eq!(
        opening.handle(Input::Tick, NOW + limits.open - almost),
        [],
        "no channel is open to greet on"
    );
    closed(&opening.handle(Input::Tick, NOW + limits.open));

    let mut half = open(Role::Answers);
    half.handle(Input::Chunk(Channel::Control, &[1, 9, 0, 0, 0, 1]), NOW);
    assert_eq!(half.handle(Input::Tick, NOW + limits.stall - almost), []);
    half.handle(Input::Chunk(Channel::Control, &[0, 1]), NOW + limits.stall - almost);
    assert_eq!(half.handle(Input::Tick, NOW + limits.stall), []);
    closed(&half.handle(Input::Tick, NOW + 2 * limits.stall));

    let mut away = open(Role::Answers);
    away.handle(Input::Path(PathState::Disconnected), NOW);
    away.handle(Input::Path(PathState::Connected), NOW + almost);
    assert_eq!(away.handle(Input::Tick, NOW + limits.disconnected), []);
    away.handle(Input::Path(PathState::Disconnected), NOW + limits.disconnected);
    closed(&away.handle(Input::Tick, NOW + 2 * limits.disconnected));
}

#[test]
fn a_lost_path_or_channel_closes_the_peer_once() {
    let mut session = open(Role::Offers);
    closed(&session.handle(Input::Path(PathState::Failed), NOW));
    assert_eq!(session.handle(Input::ChannelClosed(Channel::Control), NOW), []);
    closed(&open(Role::Answers).handle(Input::ChannelClosed(Channel::Activations), NOW));
    closed(&open(Role::Answers).handle(Input::Failed("broken".to_owned()), NOW));
}
