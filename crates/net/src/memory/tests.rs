use potluck_protocol::peer::Channel;

use super::faults::SERVER_SILENCE;
use super::*;
use crate::Role;
use crate::session::MAX_QUEUED_BYTES;

const A: NodeId = NodeId([1; 32]);
const B: NodeId = NodeId([2; 32]);
const FAR: Duration = Duration::from_secs(3600);

/// A network whose server passes signals on and nothing else, as whatever comes out of it is
/// written down.
struct World {
    network: MemoryNetwork,
    seen: Vec<(Duration, Delivery)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let profile = Profile {
            latency: Duration::from_millis(1)..=Duration::from_millis(50),
            jitter: Duration::from_millis(20),
            peer_lifetime: None,
        };
        Self { network: MemoryNetwork::new(seed, profile), seen: Vec::new() }
    }

    fn connected(seed: u64) -> Self {
        let mut world = Self::new(seed);
        world.open();
        world.settle();
        assert_eq!(world.events(A), [Event::PeerOpen { peer: B }]);
        assert_eq!(world.events(B), [Event::PeerOpen { peer: A }]);
        world.seen.clear();
        world
    }

    fn open(&mut self) {
        for (node, peer) in [(A, B), (B, A)] {
            let (role, ice_servers) = (Role::of(node, peer), Vec::new());
            self.network.command(node, Command::OpenPeer { peer, role, ice_servers });
        }
    }

    fn send(&mut self, from: NodeId, channel: Channel, byte: u8) {
        let peer = if from == A { B } else { A };
        self.network.command(from, Command::SendPeer { peer, channel, frame: vec![byte] });
    }

    /// Until nothing is under way.
    fn settle(&mut self) {
        while self.network.under_way() > 0 {
            self.step(self.network.next_at().unwrap_or(FAR));
        }
    }

    fn step(&mut self, until: Duration) -> bool {
        let Some(delivery) = self.network.advance(until) else { return false };
        match &delivery {
            Delivery::Node { node, event: Event::Signal { peer, signal } } => {
                let (peer, signal) = (*node, (*peer, signal.clone()));
                self.network.command(signal.0, Command::Signal { peer, signal: signal.1 });
            }
            _ => self.seen.push((self.network.now(), delivery)),
        }
        true
    }

    fn pass(&mut self, time: Duration) {
        let until = self.network.now() + time;
        while self.step(until) {}
    }

    fn events(&self, of: NodeId) -> Vec<Event> {
        let event = |(_, delivery): &(Duration, Delivery)| match delivery {
            Delivery::Node { node, event } if *node == of => Some(event.clone()),
            _ => None,
        };
        self.seen.iter().filter_map(event).collect()
    }

    /// The bytes of the frames that came to a node on a channel.
    fn frames(&self, of: NodeId, on: Channel) -> Vec<u8> {
        let byte = |event: Event| match event {
            Event::PeerFrame { channel, frame, .. } if channel == on => Some(frame[0]),
            _ => None,
        };
        self.events(of).into_iter().filter_map(byte).collect()
    }

    fn is_closed(&self, of: NodeId) -> bool {
        matches!(self.events(of).last(), Some(Event::PeerClosed { .. }))
    }
}

fn run(seed: u64) -> Vec<(Duration, Delivery)> {
    let mut world = World::new(seed);
    world.open();
    for node in [A, B] {
        world.network.command(node, Command::OpenServer { url: String::new() });
        for number in 0..40 {
            world.network.command(node, Command::SendServer { message: vec![number] });
            world.send(node, Channel::Control, number);
            world.send(node, Channel::Activations, number);
        }
    }
    world.settle();
    world.seen
}

#[test]
fn the_same_seed_is_the_same_run_to_the_event() {
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed));
        assert_ne!(run(seed), run(seed + 1));
    }
}

#[test]
fn each_channel_and_each_connection_keeps_its_order_and_nothing_is_lost_or_doubled() {
    let mut overtaken = [0, 0];
    for seed in 0..20 {
        let mut world = World { seen: run(seed), ..World::new(seed) };
        for node in [A, B] {
            assert_eq!(world.frames(node, Channel::Control), Vec::from_iter(0..40));
            assert_eq!(world.frames(node, Channel::Activations), Vec::from_iter(0..40));
            let mut last = 0;
            for event in world.events(node) {
                if let Event::PeerFrame { channel: Channel::Control, frame, .. } = event {
                    last = frame[0];
                } else if let Event::PeerFrame { frame, .. } = event {
                    overtaken[0] += usize::from(frame[0] > last + 1);
                }
            }
        }
        world.seen.retain(|(_, delivery)| matches!(delivery, Delivery::Server { .. }));
        let mut of_connection = BTreeMap::<ConnectionId, Vec<u8>>::new();
        let mut switches = 0;
        let mut before = None;
        for (_, delivery) in &world.seen {
            if let Delivery::Server { connection, event: ServerEvent::Message(message) } = delivery
            {
                of_connection.entry(*connection).or_default().push(message[0]);
                switches += usize::from(before.replace(*connection) != Some(*connection));
            }
        }
        assert_eq!(of_connection.len(), 2);
        assert!(of_connection.values().all(|numbers| *numbers == Vec::from_iter(0..40)));
        overtaken[1] += usize::from(switches > 2);
    }
    assert!(overtaken[0] > 100, "frames overtook the other channel's {} times", overtaken[0]);
    assert!(overtaken[1] > 2, "two nodes' messages mixed in {} runs of 20", overtaken[1]);
}

#[test]
fn opening_takes_time_and_what_was_sent_meanwhile_follows() {
    let mut world = World::new(3);
    world.open();
    world.send(A, Channel::Control, 1);
    world.send(A, Channel::Activations, 2);
    world.settle();
    assert_eq!(world.events(B)[0], Event::PeerOpen { peer: A }, "frames never come before it");
    assert_eq!(world.frames(B, Channel::Control), [1]);
    assert_eq!(world.frames(B, Channel::Activations), [2]);
    assert!(world.seen[0].0 >= Duration::from_millis(2), "a round trip");
}

#[test]
fn half_an_opening_times_out() {
    let mut world = World::new(3);
    world
        .network
        .command(A, Command::OpenPeer { peer: B, role: Role::Offers, ice_servers: Vec::new() });
    world.settle();
    assert_eq!(world.events(A), []);
    world.pass(Duration::from_secs(16));
    assert!(world.is_closed(A));
    assert_eq!(world.seen[0].0, Duration::from_secs(5), "nobody answers");
}

#[test]
fn a_peer_that_begins_anew_takes_the_old_ones_place() {
    let mut world = World::connected(5);
    world.network.happen(Fault::Vanish { node: A, loss: Loss::Silent });
    world.open(); // nothing for B, which still has its end
    world.send(A, Channel::Control, 7);
    world.settle();
    assert_eq!(world.events(B)[0], Event::PeerOpen { peer: A }, "{:?}", world.seen);
    assert_eq!(world.frames(B, Channel::Control), [7]);
    world.pass(Duration::from_secs(30));
    assert!(!world.is_closed(B), "the old connection's end is not the new one's");
}

#[test]
fn a_peer_that_hangs_up_gets_nothing_more_and_the_other_learns_of_it_after_the_last_frame() {
    let mut world = World::connected(1);
    world.send(B, Channel::Control, 2);
    world.send(A, Channel::Control, 3);
    world.network.command(A, Command::ClosePeer { peer: B });
    world.settle();
    assert_eq!(world.events(A), []);
    assert_eq!(world.frames(B, Channel::Control), [3]);
    assert!(world.is_closed(B));
}

#[test]
fn a_broken_connection_is_noticed_at_once_or_by_silence() {
    for (loss, least) in [(Loss::Noticed, 0), (Loss::Silent, 5)] {
        let mut world = World::connected(1);
        let start = world.network.now();
        world.send(A, Channel::Control, 1);
        world.network.schedule(start, Fault::Peers { a: A, b: B, loss });
        world.pass(Duration::ZERO);
        world.send(B, Channel::Control, 2);
        world.pass(Duration::from_secs(6));
        for node in [A, B] {
            assert!(world.is_closed(node), "{loss:?}");
            let frames = world.frames(node, Channel::Control);
            assert!(frames.is_empty(), "what is under way is lost, but {frames:?}");
        }
        let end = world.seen.last().map(|(at, _)| *at - start);
        assert!(end.is_some_and(|end| end >= Duration::from_secs(least)), "{end:?}");
        assert!(end.is_some_and(|end| end < Duration::from_secs(least + 1)), "{end:?}");
    }
}

#[test]
fn connections_break_by_themselves_where_the_profile_says_so() {
    let mut lost = 0;
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.network.profile.peer_lifetime = Some(Duration::from_secs(60));
        world.open();
        world.pass(Duration::from_secs(60));
        lost += usize::from(world.is_closed(A) && world.is_closed(B));
    }
    assert!((5..=15).contains(&lost), "{lost} of 20 within the mean lifetime");
}

#[test]
fn a_frozen_node_gets_all_of_it_when_it_thaws() {
    let mut world = World::connected(1);
    world.network.happen(Fault::Freeze(B));
    for byte in 0..3 {
        world.send(A, Channel::Control, byte);
    }
    world.pass(Duration::from_secs(60));
    assert_eq!(world.seen, [], "nobody is told");
    world.network.happen(Fault::Thaw(B));
    world.settle();
    assert_eq!(world.frames(B, Channel::Control), [0, 1, 2]);
}

#[test]
fn a_queue_that_is_full_closes_the_peer() {
    let mut world = World::connected(1);
    world.network.happen(Fault::Freeze(B));
    let frame = vec![0; 4 << 20];
    for _ in 0..=MAX_QUEUED_BYTES / frame.len() {
        let frame = frame.clone();
        let channel = Channel::Activations;
        world.network.command(A, Command::SendPeer { peer: B, channel, frame });
    }
    world.settle();
    let Some(Event::PeerClosed { reason, .. }) = world.events(A).pop() else {
        panic!("it is open")
    };
    assert!(reason.contains("too slow"), "{reason}");
}

#[test]
fn the_server_hears_who_left_and_a_stopped_server_refuses() {
    let mut world = World::new(1);
    for node in [A, B] {
        world.network.command(node, Command::OpenServer { url: String::new() });
    }
    world.settle();
    world.seen.clear();
    world.network.happen(Fault::Vanish { node: A, loss: Loss::Silent });
    world.pass(Duration::from_secs(5));
    let closed = |(_, delivery): &(Duration, Delivery)| {
        matches!(delivery, Delivery::Server { event: ServerEvent::Closed, .. })
    };
    assert!(world.seen.len() == 1 && closed(&world.seen[0]), "{:?}", world.seen);
    assert!(world.seen[0].0 >= SERVER_SILENCE);

    world.network.stop_server("restarting");
    world.settle();
    assert!(matches!(world.events(B)[..], [Event::ServerClosed { .. }]));
    world.seen.clear();
    world.network.command(B, Command::OpenServer { url: String::new() });
    world.settle();
    assert!(matches!(world.events(B)[..], [Event::ServerClosed { .. }]));
    world.seen.clear();
    world.network.start_server();
    world.network.command(B, Command::OpenServer { url: String::new() });
    world.settle();
    assert_eq!(world.events(B), [Event::ServerOpen]);
    assert!(world.network.connections.len() == 1, "nothing of the old ones stays");
}
