//! What a peer connection does, step by step, without one.

use super::super::reassembler::MAX_CHUNK_BYTES;
use super::super::{
    FRAME_OVERHEAD_BYTES, HIGH_WATER_BYTES, LOW_WATER_BYTES, MAX_CANDIDATES, MAX_QUEUED_FRAMES,
};
use super::*;

const PEER: NodeId = NodeId([7; 32]);
const NOW: Duration = Duration::from_secs(100);

fn session(role: Role) -> PeerSession {
    let mut session = PeerSession::new(PEER, role, Limits::default(), Surroundings::default());
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

/// A description that this name is in.
fn sdp(name: &str) -> String {
    format!("v=0\r\ns={name}\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n")
}

fn offer(name: &str) -> Input<'static> {
    Input::Remote(Signal::Offer { sdp: sdp(name) })
}

fn answer(name: &str) -> Input<'static> {
    Input::Remote(Signal::Answer { sdp: sdp(name) })
}

/// A candidate with a public address and this port.
fn line(port: u16) -> String {
    format!("candidate:1 1 udp 1 8.8.8.8 {port} typ host")
}

fn candidate(port: u16) -> Input<'static> {
    Input::Remote(Signal::Candidate {
        candidate: line(port),
        sdp_mid: Some("whatever".to_owned()),
        sdp_m_line_index: None,
    })
}

fn added(port: u16) -> Action {
    Action::AddCandidate(line(port))
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
    assert_eq!(answers.handle(candidate(1), NOW), []);
    let expected = [Action::Answer { offer: sdp("o"), fresh: false }, added(1)];
    assert_eq!(answers.handle(offer("o"), NOW), expected);
    assert_eq!(answers.handle(candidate(2), NOW), [added(2)]);

    let mut offers = session(Role::Offers);
    assert_eq!(offers.handle(candidate(1), NOW), []);
    assert_eq!(offers.handle(answer("s"), NOW), [Action::Accept { answer: sdp("s") }, added(1)]);
}

#[test]
fn candidates_are_bounded() {
    let mut session = session(Role::Answers);
    for _ in 0..10 * MAX_CANDIDATES {
        session.handle(candidate(1), NOW);
    }
    assert_eq!(session.handle(offer("o"), NOW).len(), 1 + MAX_CANDIDATES);
    assert_eq!(session.handle(candidate(1), NOW), []);
}

#[test]
fn own_candidates_are_signalled_and_say_which_of_the_peers_are_near() {
    let mut session = session(Role::Answers);
    let near = "candidate:1 1 udp 1 192.168.1.7 9 typ host";
    let remote =
        Signal::Candidate { candidate: near.to_owned(), sdp_mid: None, sdp_m_line_index: Some(0) };
    session.handle(offer("o"), NOW);
    assert_eq!(session.handle(Input::Remote(remote), NOW), []);
    let found = Candidate {
        candidate: "candidate:1 1 udp 1 10.0.0.1 9 typ host".to_owned(),
        sdp_mid: None,
        sdp_m_line_index: Some(0),
    };
    let Candidate { candidate, sdp_mid, sdp_m_line_index } = found.clone();
    let signal = Signal::Candidate { candidate, sdp_mid, sdp_m_line_index };
    assert_eq!(
        session.handle(Input::Found(found), NOW),
        [
            Action::Report(Event::Signal { peer: PEER, signal }),
            Action::AddCandidate(near.to_owned())
        ]
    );
}

#[test]
fn a_description_that_no_node_sends_ends_the_connection() {
    let bad = || Input::Remote(Signal::Offer { sdp: "v=0\r\nm=audio 9 x 0\r\n".to_owned() });
    assert!(closed(&session(Role::Answers).handle(bad(), NOW)).contains("1 sections"));
    let mut offers = session(Role::Offers);
    assert_eq!(offers.handle(bad(), NOW), [], "not this side's business");
}

#[test]
fn a_flood_of_offers_makes_few_connections() {
    let mut session = open(Role::Answers);
    let mut fresh = 0;
    let mut name = 0;
    let end = NOW + Duration::from_secs(60);
    let mut now = NOW;
    while now < end && !session.is_closed() {
        for _ in 0..100 {
            name += 1;
            let mut actions = session.handle(offer(&name.to_string()), now);
            actions.extend(session.handle(Input::Tick, now));
            fresh +=
                actions.iter().filter(|action| matches!(action, Action::Answer { .. })).count();
        }
        now += Duration::from_secs(1);
    }
    assert!(session.is_closed(), "it never opens");
    assert_eq!(fresh, 4, "the first and three anew, of {name}");
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
    assert_eq!(session.handle(offer("p"), NOW), [Action::Answer { offer: sdp("p"), fresh: true }]);
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
    for _ in 0..=MAX_QUEUED_BYTES / charge(MAX_PEER_FRAME_BYTES) {
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
    for _ in 0..MAX_UNREAD_BYTES / charge(MAX_PEER_FRAME_BYTES) {
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
fn an_empty_frame_ends_the_connection_and_none_is_sent() {
    let mut session = open(Role::Offers);
    assert_eq!(session.handle(Input::Send(Channel::Control, Vec::new()), NOW), []);
    let actions = session.handle(Input::Chunk(Channel::Control, &[1, 0, 0, 0, 0]), NOW);
    assert!(closed(&actions).contains("an empty frame"), "{actions:?}");
}

#[test]
fn greetings_without_end_end_the_connection() {
    let mut session = open(Role::Offers);
    let mut answers = 0;
    while !session.is_closed() {
        answers += transmitted(&session.handle(Input::Chunk(Channel::Control, &[2]), NOW));
        assert!(answers < 2 * MAX_GREETINGS as usize, "every greeting is answered");
    }
}

#[test]
fn small_frames_are_charged_what_they_cost() {
    // To the node: a million frames of a byte would be 100 MB and more.
    let frame = |channel| Input::Chunk(channel, &[1, 1, 0, 0, 0, 9]);
    let most = MAX_UNREAD_BYTES / (FRAME_OVERHEAD_BYTES + 1);
    let mut session = open(Role::Offers);
    for _ in 0..most {
        assert_eq!(session.handle(frame(Channel::Control), NOW).len(), 1);
    }
    assert!(session.is_unread_full(), "a native node stops reading before that");
    session.handle(Input::Read(1), NOW);
    assert_eq!(session.handle(frame(Channel::Control), NOW).len(), 1);
    assert!(closed(&session.handle(frame(Channel::Activations), NOW)).contains("faster"));

    // Before it opens: the same, held back.
    let mut opening = self::session(Role::Answers);
    for _ in 0..most {
        assert_eq!(opening.handle(frame(Channel::Control), NOW), []);
    }
    assert!(closed(&opening.handle(frame(Channel::Control), NOW)).contains("faster"));

    // From the node: bytes and frames are bounded together.
    let mut waiting = self::session(Role::Offers);
    let large = MAX_QUEUED_BYTES / charge(MAX_PEER_FRAME_BYTES);
    for _ in 0..large {
        waiting.handle(Input::Send(Channel::Activations, vec![0; MAX_PEER_FRAME_BYTES]), NOW);
    }
    let left = MAX_QUEUED_BYTES - large * charge(MAX_PEER_FRAME_BYTES);
    assert!(left / charge(1) < MAX_QUEUED_FRAMES, "the bytes run out first");
    for _ in 0..left / charge(1) {
        assert_eq!(waiting.handle(Input::Send(Channel::Control, vec![0]), NOW), []);
    }
    assert!(
        closed(&waiting.handle(Input::Send(Channel::Control, vec![0]), NOW)).contains("too slow")
    );
}

#[test]
fn a_lost_path_or_channel_closes_the_peer_once() {
    let mut session = open(Role::Offers);
    let failed = session.handle(Input::Path(PathState::Failed), NOW);
    assert!(closed(&failed).contains("lets no direct connection through"), "{failed:?}");
    let mut broken = open(Role::Offers);
    broken.handle(Input::Path(PathState::Connected), NOW);
    assert!(closed(&broken.handle(Input::Path(PathState::Failed), NOW)).contains("broke"));
    assert_eq!(session.handle(Input::ChannelClosed(Channel::Control), NOW), []);
    closed(&open(Role::Answers).handle(Input::ChannelClosed(Channel::Activations), NOW));
    closed(&open(Role::Answers).handle(Input::Failed("broken".to_owned()), NOW));
}

#[path = "peer_time_tests.rs"]
mod time;
