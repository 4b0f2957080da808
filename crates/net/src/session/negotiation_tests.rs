//! The negotiation over a connection that does what a script says, so without WebRTC and clock.

use core::cell::RefCell;
use std::rc::Rc;

use futures::executor::LocalPool;
use futures::task::LocalSpawnExt as _;
use potluck_protocol::codec::MAX_PEER_FRAME_BYTES;

use super::super::{Candidate, FRAME_OVERHEAD_BYTES, MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES};
use super::*;
use crate::events::EventReceiver;

const PEER: NodeId = NodeId([7; 32]);

/// What was asked of the platform, in order.
type Log = Rc<RefCell<Vec<String>>>;

/// A platform that logs what it is asked for. Its connections are numbered from 0.
struct Script {
    log: Log,
    now: Rc<RefCell<Duration>>,
    reporters: Rc<RefCell<Vec<Reporter<Self>>>>,
    /// A step that fails, by its name in the log.
    fails: Option<&'static str>,
    /// A step that never ends, by its name in the log.
    hangs: Option<&'static str>,
}

struct Scripted {
    number: usize,
    log: Log,
    fails: Option<&'static str>,
    hangs: Option<&'static str>,
}

#[derive(Clone)]
struct Wire {
    number: usize,
    log: Log,
}

impl Platform for Script {
    type Connection = Scripted;
    type Channels = Wire;

    fn now(&self) -> Duration {
        *self.now.borrow()
    }

    async fn connect(&self, reporter: Reporter<Self>) -> Result<(Scripted, Wire), String> {
        let number = self.reporters.borrow().len();
        self.reporters.borrow_mut().push(reporter);
        let (fails, hangs, log) = (self.fails, self.hangs, Rc::clone(&self.log));
        let wire = Wire { number, log: Rc::clone(&log) };
        let connection = Scripted { number, log, fails, hangs };
        connection.step("connect").await?;
        Ok((connection, wire))
    }
}

impl Scripted {
    async fn step(&self, what: &str) -> Result<(), String> {
        self.log.borrow_mut().push(format!("{}: {what}", self.number));
        if self.hangs == Some(what) {
            core::future::pending::<()>().await;
        }
        if self.fails == Some(what) { Err(format!("{what} failed")) } else { Ok(()) }
    }
}

impl PeerConnection for Scripted {
    type Error = String;

    async fn offer(&mut self) -> Result<String, String> {
        self.step("offer").await?;
        Ok("our offer".to_owned())
    }

    async fn answer(&mut self, offer: String) -> Result<String, String> {
        self.step(&format!("answer {}", name(&offer))).await?;
        Ok(if name(&offer) == "long" {
            "x".repeat(MAX_SDP_BYTES + 1)
        } else {
            "our answer".to_owned()
        })
    }

    async fn gather(&mut self) -> Result<(), String> {
        self.step("gather").await
    }

    async fn accept(&mut self, answer: String) -> Result<(), String> {
        self.step(&format!("accept {}", name(&answer))).await
    }

    async fn add_candidate(&mut self, candidate: String) -> Result<(), String> {
        let port = candidate.split(' ').nth(5).unwrap_or_default();
        self.step(&format!("candidate {port}")).await
    }

    async fn close(self) {
        self.log.borrow_mut().push(format!("{}: close", self.number));
    }
}

impl Channels for Wire {
    fn transmit(&self, channel: Channel, chunk: Vec<u8>) -> Result<(), String> {
        let (number, bytes) = (self.number, chunk.len());
        self.log.borrow_mut().push(format!("{number}: {} {bytes}", channel.label()));
        Ok(())
    }

    fn buffered_bytes(&self, _: Channel) -> Option<usize> {
        Some(0)
    }
}

struct Scene {
    peer: Arc<Peer<Script>>,
    log: Log,
    now: Rc<RefCell<Duration>>,
    reporters: Rc<RefCell<Vec<Reporter<Script>>>>,
    events: EventReceiver,
    pool: LocalPool,
}

impl Scene {
    fn new(role: Role) -> Self {
        Self::with(role, None, None)
    }

    fn with(role: Role, fails: Option<&'static str>, hangs: Option<&'static str>) -> Self {
        let (log, now, reporters) = (Log::default(), Rc::default(), Rc::default());
        let script = Script {
            log: Rc::clone(&log),
            now: Rc::clone(&now),
            reporters: Rc::clone(&reporters),
            fails,
            hangs,
        };
        let (sender, events) = EventSender::channel();
        let (peer, task) =
            Peer::open(PEER, role, Limits::default(), Surroundings::default(), script, sender);
        let pool = LocalPool::new();
        pool.spawner().spawn_local(negotiate(Arc::clone(&peer), task)).unwrap();
        let mut scene = Self { peer, log, now, reporters, events, pool };
        scene.pool.run_until_stalled();
        scene
    }

    /// Tells the peer and lets its task run.
    fn handle(&mut self, input: Input<'_>) {
        self.peer.handle(input);
        self.pool.run_until_stalled();
    }

    fn report(&mut self, connection: usize, input: Input<'_>) {
        let reporter = self.reporters.borrow()[connection].clone();
        reporter.handle(input);
        self.pool.run_until_stalled();
    }

    fn log(&self) -> Vec<String> {
        core::mem::take(&mut *self.log.borrow_mut())
    }

    fn event(&mut self) -> Option<Event> {
        self.events.try_recv().ok().map(|reported| reported.event)
    }

    fn closed(&mut self) -> String {
        match self.event() {
            Some(Event::PeerClosed { peer: PEER, reason }) => reason,
            other => panic!("not closed: {other:?}"),
        }
    }

    /// Both channels of a connection open and are heard.
    fn open_channels(&mut self, connection: usize) {
        for channel in [Channel::Control, Channel::Activations] {
            self.report(connection, Input::ChannelOpen(channel));
            self.report(connection, Input::Chunk(channel, &[3]));
        }
    }
}

/// A description that this name is in.
fn sdp(name: &str) -> String {
    format!("v=0\r\ns={name}\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n")
}

/// The name in a description.
fn name(sdp: &str) -> &str {
    sdp.lines().find_map(|line| line.strip_prefix("s=")).unwrap()
}

fn offer(name: &str) -> Input<'static> {
    Input::Remote(Signal::Offer { sdp: sdp(name) })
}

/// A candidate with a public address and this port.
fn candidate(port: u16) -> Candidate {
    let candidate = format!("candidate:1 1 udp 1 8.8.8.8 {port} typ host");
    Candidate { candidate, sdp_mid: None, sdp_m_line_index: Some(0) }
}

fn remote_candidate(port: u16) -> Input<'static> {
    let Candidate { candidate, sdp_mid, sdp_m_line_index } = candidate(port);
    Input::Remote(Signal::Candidate { candidate, sdp_mid, sdp_m_line_index })
}

fn signal(signal: Signal) -> Option<Event> {
    Some(Event::Signal { peer: PEER, signal })
}

#[test]
fn an_offer_is_made_and_its_answer_accepted() {
    let mut scene = Scene::new(Role::Offers);
    assert_eq!(scene.log(), ["0: connect", "0: offer", "0: gather"]);
    assert_eq!(scene.event(), signal(Signal::Offer { sdp: "our offer".to_owned() }));
    scene.handle(remote_candidate(5));
    assert_eq!(scene.log(), [""; 0], "there is no description to add it to");
    scene.handle(Input::Remote(Signal::Answer { sdp: sdp("theirs") }));
    assert_eq!(scene.log(), ["0: accept theirs", "0: candidate 5"]);
}

#[test]
fn an_offer_is_answered_and_one_made_anew_replaces_the_connection() {
    let mut scene = Scene::new(Role::Answers);
    assert_eq!(scene.log(), [""; 0]);
    scene.handle(offer("first"));
    assert_eq!(scene.log(), ["0: connect", "0: answer first", "0: gather"]);
    assert_eq!(scene.event(), signal(Signal::Answer { sdp: "our answer".to_owned() }));
    scene.open_channels(0);
    assert_eq!(scene.event(), Some(Event::PeerOpen { peer: PEER }));
    scene.log();

    scene.handle(offer("second"));
    assert_eq!(scene.log(), ["0: close", "1: connect", "1: answer second", "1: gather"]);
    assert_eq!(scene.event(), signal(Signal::Answer { sdp: "our answer".to_owned() }));
    scene.report(0, Input::Failed("too late".to_owned()));
    scene.report(0, Input::ChannelClosed(Channel::Control));
    assert_eq!(scene.event(), None, "the connection that was replaced does not count");
    scene.open_channels(1);
    assert_eq!(scene.event(), Some(Event::PeerOpen { peer: PEER }));
}

#[test]
fn candidates_are_signalled_while_their_connection_counts() {
    let mut scene = Scene::new(Role::Answers);
    scene.handle(offer("first"));
    scene.event();
    scene.report(0, Input::Found(candidate(7)));
    let Candidate { candidate: line, sdp_mid, sdp_m_line_index } = candidate(7);
    let expected = Signal::Candidate { candidate: line, sdp_mid, sdp_m_line_index };
    assert_eq!(scene.event(), signal(expected));
    scene.handle(offer("second"));
    scene.event();
    scene.report(0, Input::Found(candidate(8)));
    assert_eq!(scene.event(), None);
}

#[test]
fn a_description_of_a_connection_that_was_replaced_is_not_sent() {
    let mut scene = Scene::new(Role::Answers);
    // Both before the task runs.
    scene.peer.handle(offer("first"));
    scene.handle(offer("second"));
    assert_eq!(scene.event(), signal(Signal::Answer { sdp: "our answer".to_owned() }));
    assert_eq!(scene.event(), None);
    assert_eq!(scene.log(), ["0: connect", "0: answer second", "0: gather"]);
}

#[test]
fn a_failed_step_closes_the_peer_but_a_candidate_that_fails_does_not() {
    let mut scene = Scene::with(Role::Offers, Some("gather"), None);
    assert_eq!(scene.event(), signal(Signal::Offer { sdp: "our offer".to_owned() }));
    assert_eq!(scene.closed(), "gather failed");
    assert_eq!(scene.log().last().unwrap(), "0: close");
    assert!(scene.peer.is_closed());

    let mut scene = Scene::with(Role::Answers, Some("candidate 1"), None);
    scene.handle(offer("theirs"));
    scene.event();
    scene.handle(remote_candidate(1));
    scene.handle(remote_candidate(2));
    assert_eq!(scene.log()[3..], ["0: candidate 1", "0: candidate 2"]);
    assert_eq!(scene.event(), None);
}

#[test]
fn a_description_longer_than_the_protocol_takes_closes_the_peer() {
    let mut scene = Scene::new(Role::Answers);
    scene.handle(offer("long"));
    assert!(scene.closed().starts_with("session description of"));
}

#[test]
fn a_step_that_hangs_ends_with_the_time_to_open_or_when_the_node_hangs_up() {
    let mut scene = Scene::with(Role::Offers, None, Some("offer"));
    for second in 0..=Limits::default().answer.as_secs() {
        *scene.now.borrow_mut() = Duration::from_secs(second);
        scene.handle(Input::Tick);
    }
    assert_eq!(scene.closed(), "it did not answer within 5 s");
    assert_eq!(scene.log(), ["0: connect", "0: offer", "0: close"]);

    let mut scene = Scene::with(Role::Offers, None, Some("offer"));
    scene.peer.hang_up();
    scene.pool.run_until_stalled();
    assert_eq!(scene.log(), ["0: connect", "0: offer", "0: close"]);
    assert_eq!(scene.event(), None, "the node knows");
}

#[test]
fn a_peer_that_signals_too_fast_makes_no_more_than_a_few_steps() {
    let mut scene = Scene::with(Role::Answers, None, Some("answer 0"));
    for number in 0..2 * MAX_STEPS {
        scene.handle(offer(&number.to_string()));
        scene.handle(remote_candidate(1));
    }
    assert_eq!(scene.event(), None);
    scene.peer.hang_up();
    scene.pool.run_until_stalled();
    assert_eq!(scene.log(), ["0: connect", "0: answer 0", "0: close"]);
}

#[test]
fn a_whole_long_prompt_waits_for_the_connection() {
    // 8192 positions in steps of 128, 1536 values each, at five bytes a value.
    let (frames, frame_bytes) = (64, 128 * 1536 * 5);
    let mut scene = Scene::new(Role::Offers);
    scene.event();
    for _ in 0..frames {
        scene.handle(Input::Send(Channel::Activations, vec![1; frame_bytes]));
    }
    // More frames than a prompt of the longest context has steps.
    for _ in 0..600 {
        scene.handle(Input::Send(Channel::Control, vec![1; 64]));
    }
    scene.log();
    scene.open_channels(0);
    assert_eq!(scene.event(), Some(Event::PeerOpen { peer: PEER }));
    let mut sent = 0;
    loop {
        let log = scene.log();
        let chunks = log.iter().filter_map(|line| line.strip_prefix("0: activations "));
        let bytes: usize = chunks.map(|bytes| bytes.parse::<usize>().unwrap()).sum();
        if bytes == 0 {
            break;
        }
        sent += bytes;
        scene.report(0, Input::Buffered(Channel::Activations, 0));
    }
    assert!(sent > frames * frame_bytes, "{sent} bytes with their headers");
    assert_eq!(scene.event(), None);
}

#[test]
fn what_the_queue_refuses_closes_the_peer_with_a_reason() {
    let mut scene = Scene::new(Role::Offers);
    scene.event();
    for _ in 0..MAX_QUEUED_BYTES / (MAX_PEER_FRAME_BYTES + FRAME_OVERHEAD_BYTES) {
        scene.handle(Input::Send(Channel::Activations, vec![0; MAX_PEER_FRAME_BYTES]));
    }
    assert_eq!(scene.event(), None);
    scene.handle(Input::Send(Channel::Activations, vec![0; MAX_PEER_FRAME_BYTES]));
    assert!(scene.closed().starts_with("it is too slow"));

    let mut scene = Scene::new(Role::Offers);
    scene.event();
    for _ in 0..MAX_QUEUED_FRAMES {
        scene.handle(Input::Send(Channel::Control, vec![1]));
    }
    assert_eq!(scene.event(), None);
    scene.handle(Input::Send(Channel::Control, vec![1]));
    let reason = scene.closed();
    assert!(reason.ends_with(&format!("{MAX_QUEUED_FRAMES} frames wait for it")), "{reason}");
}
