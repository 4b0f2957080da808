//! What the stack hears of, value by value.

use super::*;

const NOW: Duration = Duration::from_secs(100);
const PUBLIC: &str = "candidate:1 1 udp 1 8.8.8.8 9 typ host";
const PRIVATE: &str = "candidate:1 1 udp 1 192.168.1.7 9 typ host";
const LOOPBACK: &str = "candidate:1 1 udp 1 127.0.0.1 9 typ host";
const NAME: &str = "candidate:1 1 udp 1 0a1b.local 9 typ host";

fn sdp(name: &str, candidates: &[&str]) -> String {
    let candidates: String = candidates.iter().map(|line| format!("a={line}\r\n")).collect();
    format!("v=0\r\ns={name}\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n{candidates}")
}

fn introduction() -> Introduction {
    Introduction::new(Surroundings::default())
}

fn own(candidate: &str) -> Candidate {
    Candidate { candidate: candidate.to_owned(), sdp_mid: None, sdp_m_line_index: Some(0) }
}

/// The peer begins anew: what the stack is given.
fn offer(introduction: &mut Introduction, name: &str, at: Duration) -> Described {
    introduction.describe(sdp(name, &[]), at).unwrap()
}

#[test]
fn candidates_in_a_description_are_judged_as_others_are() {
    let mut introduction = introduction();
    let described = introduction.describe(sdp("a", &[PUBLIC, LOOPBACK, "candidate:bad"]), NOW);
    assert_eq!(described, Ok(Described::First { sdp: sdp("a", &[]) }));
    introduction.candidate(PRIVATE.to_owned());
    introduction.candidate(NAME.to_owned());
    assert_eq!(introduction.release(), [PUBLIC, NAME]);
    assert_eq!(introduction.release(), [""; 0], "once");
}

#[test]
fn candidates_near_this_node_wait_until_it_is_known_to_be_there() {
    let mut introduction = introduction();
    introduction.describe(sdp("a", &[PRIVATE, LOOPBACK]), NOW).unwrap();
    assert_eq!(introduction.release(), [""; 0]);
    introduction.found(own("candidate:1 1 udp 1 10.0.0.9 9 typ host"));
    assert_eq!(introduction.release(), [PRIVATE]);
    introduction.found(own("candidate:1 1 udp 1 127.0.0.1 7 typ host"));
    assert_eq!(introduction.release(), [LOOPBACK]);

    let networks = Networks::of_server("ws://127.0.0.1:1");
    let mut introduction = Introduction::new(Surroundings::new(networks, &[]));
    introduction.candidate(LOOPBACK.to_owned());
    assert_eq!(introduction.release(), [""; 0], "no description yet");
    introduction.describe(sdp("a", &[]), NOW).unwrap();
    assert_eq!(introduction.release(), [LOOPBACK]);
}

#[test]
fn candidates_are_bounded_wherever_they_come_from() {
    let mut introduction = introduction();
    introduction.describe(sdp("a", &[PUBLIC; MAX_CANDIDATES / 2]), NOW).unwrap();
    for _ in 0..10 * MAX_CANDIDATES {
        introduction.candidate(PUBLIC.to_owned());
    }
    assert_eq!(introduction.release().len(), MAX_CANDIDATES);
    introduction.candidate(PUBLIC.to_owned());
    assert_eq!(introduction.release().len(), 0);

    let mut names = self::introduction();
    names.describe(sdp("a", &[NAME; 2 * MAX_NAMES]), NOW).unwrap();
    assert_eq!(names.release().len(), MAX_NAMES);
}

#[test]
fn a_peer_that_begins_anew_again_and_again_is_put_off() {
    let mut introduction = introduction();
    assert_eq!(offer(&mut introduction, "0", NOW), Described::First { sdp: sdp("0", &[]) });
    for name in ["1", "2", "3"] {
        let described = offer(&mut introduction, name, NOW);
        assert_eq!(described, Described::Anew { sdp: sdp(name, &[]) });
        assert_eq!(offer(&mut introduction, name, NOW), Described::Nothing, "the same once more");
    }
    for name in 4..100 {
        assert_eq!(offer(&mut introduction, &name.to_string(), NOW), Described::Nothing);
    }
    introduction.describe(sdp("last", &[PUBLIC]), NOW).unwrap();
    introduction.candidate(NAME.to_owned());
    assert_eq!(introduction.release(), [""; 0], "those are for the connection that is put off");
    let almost = NOW + ANEW_WINDOW - Duration::from_millis(1);
    assert_eq!(introduction.tick(almost), None);
    assert_eq!(introduction.tick(NOW + ANEW_WINDOW), Some(sdp("last", &[])), "the newest");
    assert_eq!(introduction.release(), [PUBLIC, NAME]);
    assert_eq!(introduction.tick(NOW + ANEW_WINDOW), None);
    assert!(introduction.is_described());
}

#[test]
fn what_no_node_sends_is_an_error_and_changes_nothing() {
    let mut introduction = introduction();
    introduction.describe("hello".to_owned(), NOW).unwrap_err();
    assert!(!introduction.is_described());
    introduction.describe(sdp("a", &[PUBLIC]), NOW).unwrap();
    introduction.describe("hello".to_owned(), NOW).unwrap_err();
    assert_eq!(introduction.release(), [PUBLIC]);
}

#[test]
fn own_candidates_are_told_within_bounds() {
    let mut introduction = introduction();
    assert_eq!(introduction.found(own("")), None);
    assert_eq!(introduction.found(own(&"x".repeat(MAX_CANDIDATE_BYTES + 1))), None);
    let unnamed = Candidate { sdp_mid: Some(String::new()), ..own(PUBLIC) };
    assert_eq!(
        introduction.found(unnamed),
        Some(Signal::Candidate {
            candidate: PUBLIC.to_owned(),
            sdp_mid: None,
            sdp_m_line_index: Some(0)
        })
    );
    let told = (0..200).filter_map(|_| introduction.found(own(PUBLIC))).count();
    assert_eq!(told, MAX_OWN_CANDIDATES - 1);
}

#[test]
fn people_are_told_whose_network_it_is() {
    let stun = IceServer { urls: vec!["stun:a".to_owned()], username: None, credential: None };
    let asking = Surroundings::new(Networks::default(), &[stun]);

    let mut blocked = Introduction::new(asking);
    blocked.found(own(PRIVATE));
    blocked.describe(sdp("a", &[PUBLIC]), NOW).unwrap();
    blocked.release();
    assert!(blocked.no_path().starts_with("your network lets no direct connection through"));

    let mut theirs = Introduction::new(asking);
    theirs.found(own(PUBLIC));
    theirs.describe(sdp("a", &[LOOPBACK]), NOW).unwrap();
    theirs.release();
    assert!(theirs.no_path().starts_with("its network lets no direct connection through"));

    let mut either = introduction();
    either.describe(sdp("a", &[PUBLIC]), NOW).unwrap();
    either.release();
    assert!(either.no_path().starts_with("your network or its own lets no direct connection"));
}
