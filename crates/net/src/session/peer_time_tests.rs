//! What a peer connection does when nothing happens for too long.

use super::*;

const STEP: Duration = Duration::from_secs(1);

/// Lets the time pass, in ticks; what happens at the last one.
fn pass(session: &mut PeerSession, from: Duration, to: Duration) -> Vec<Action> {
    let mut now = from;
    while now + STEP < to {
        now += STEP;
        session.handle(Input::Tick, now);
    }
    session.handle(Input::Tick, to)
}

#[test]
fn what_takes_too_long_is_given_up() {
    let limits = Limits::default();
    let almost = Duration::from_millis(1);

    for (role, word) in [(Role::Answers, "no offer"), (Role::Offers, "did not answer")] {
        let mut silent = session(role);
        assert_eq!(pass(&mut silent, NOW, NOW + limits.answer - almost), []);
        assert!(closed(&silent.handle(Input::Tick, NOW + limits.answer)).contains(word));
    }

    let mut opening = session(Role::Answers);
    opening.handle(offer("o"), NOW);
    assert_eq!(
        pass(&mut opening, NOW, NOW + limits.open - almost),
        [],
        "no channel is open to greet on"
    );
    let reason = closed(&opening.handle(Input::Tick, NOW + limits.open)).to_owned();
    assert!(reason.contains("lets no direct connection through"), "{reason}");

    let mut stuck = session(Role::Answers);
    stuck.handle(offer("o"), NOW);
    stuck.handle(Input::Path(PathState::Connected), NOW);
    assert!(
        closed(&pass(&mut stuck, NOW, NOW + limits.open)).contains("no connection within"),
        "there was a path"
    );

    let mut half = open(Role::Answers);
    half.handle(Input::Chunk(Channel::Control, &[1, 9, 0, 0, 0, 1]), NOW);
    let late = NOW + limits.stall - almost;
    assert_eq!(pass(&mut half, NOW, late), []);
    half.handle(Input::Chunk(Channel::Control, &[0, 1]), late);
    assert_eq!(pass(&mut half, late, NOW + limits.stall), []);
    closed(&pass(&mut half, NOW + limits.stall, NOW + 2 * limits.stall));

    let mut away = open(Role::Answers);
    away.handle(Input::Path(PathState::Disconnected), NOW);
    away.handle(Input::Path(PathState::Connected), NOW + almost);
    assert_eq!(pass(&mut away, NOW + almost, NOW + limits.disconnected), []);
    away.handle(Input::Path(PathState::Disconnected), NOW + limits.disconnected);
    closed(&pass(&mut away, NOW + limits.disconnected, NOW + 2 * limits.disconnected));
}

#[test]
fn a_frame_that_trickles_for_ever_is_given_up() {
    let limits = Limits::default();
    let mut session = open(Role::Answers);
    session.handle(Input::Chunk(Channel::Control, &[1, 0, 0, 16, 0, 1]), NOW);
    let mut now = NOW;
    while now < NOW + limits.frame {
        assert!(!session.is_closed(), "after {:?}", now - NOW);
        session.handle(Input::Chunk(Channel::Control, &[0, 1]), now);
        session.handle(Input::Tick, now);
        now += STEP;
    }
    assert!(closed(&session.handle(Input::Tick, now)).contains("not whole"));
}

#[test]
fn a_frame_that_waits_for_this_node_is_not_held_against_the_peer() {
    let limits = Limits::default();
    let mut session = open(Role::Answers);
    let chunk = [&[1, 0, 0, 64, 0][..], &[0; 100]].concat();
    session.handle(Input::Chunk(Channel::Control, &chunk), NOW);
    while !session.is_unread_full() {
        session.handle(Input::Chunk(Channel::Activations, &[1, 1, 0, 0, 0, 9]), NOW);
    }
    let read = NOW + 2 * limits.stall;
    assert_eq!(pass(&mut session, NOW, read), []);
    session.handle(Input::Read(1), read);
    closed(&pass(&mut session, read, read + limits.stall));
}

#[test]
fn a_pause_of_this_process_is_not_the_peers_silence() {
    let mut session = session(Role::Offers);
    assert_eq!(pass(&mut session, NOW, NOW + STEP), []);
    let awake = NOW + Duration::from_secs(60);
    assert_eq!(session.handle(Input::Tick, awake), []);
    assert_eq!(session.handle(answer("s"), awake).len(), 1);
}
