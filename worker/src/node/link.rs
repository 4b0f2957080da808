//! The link to the server: dial, prove who we are, notice when it is gone, come back.
//!
//! ```text
//! Off -connect-> Opening -Welcome-> Open -lost, refused for now-> Lost -after a wait-> Opening
//!                    └── refused for good -> Off
//! ```
//! Only two things end it for good: a server of another version, and the same identity on another
//! connection. Everything else passes, and nobody has to press anything.

mod address;
mod heartbeats;

use std::time::Duration;

use potluck_net as net;
use potluck_protocol::id::NodeId;
use potluck_protocol::identity::{Identity, Purpose};
use potluck_protocol::invitation::Invitation;
use potluck_protocol::page::{self, Notice};
use potluck_protocol::server::{IceServer, ToServer, challenge_bytes};
use potluck_protocol::{NUMERICS_VERSION, PROTOCOL_VERSION};

use self::address::{origin, socket_url};
use self::heartbeats::{Due, Heartbeats};
use super::Action;
use super::outbox::{Event, Outbox};

/// The link.
#[derive(Debug, Default)]
pub(super) struct Link {
    state: LinkState,
    url: String,
    /// Attempts since the last link that held.
    attempts: u32,
    /// As the server announced them, for peer connections.
    ice_servers: Vec<IceServer>,
}

#[derive(Debug, Default)]
enum LinkState {
    /// Never told to connect, or refused for good.
    #[default]
    Off,
    /// Dialling or proving; given up at this time.
    Opening(Duration),
    /// The server has welcomed this node.
    Open(Heartbeats),
    /// Lost; dialled again at this time.
    Lost(Duration),
}

/// A server's origin, as a node signs it; `None` of an address that none can have.
#[must_use]
pub fn server_origin(server: &str) -> Option<String> {
    socket_url(server).ok().map(|url| origin(&url))
}

/// The first wait after a lost link. Short, because most losses are a server that restarts.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The longest wait: a volunteer who leaves the page open overnight finds it lending in the
/// morning.
const LAST_RETRY: Duration = Duration::from_secs(30);
/// The longest wait that a server may ask for: it knows when it is less busy, and not what the
/// person does meanwhile.
const LAST_ASKED_RETRY: Duration = Duration::from_secs(120);
/// Dialling and proving together.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

impl Link {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, LinkState::Open(_))
    }

    pub(super) fn is_off(&self) -> bool {
        matches!(self.state, LinkState::Off)
    }

    /// True if there is a connection, or will be one as soon as it is open.
    fn is_up(&self) -> bool {
        matches!(self.state, LinkState::Opening(_) | LinkState::Open(_))
    }

    /// The server that was dialled last, as this node signs it; `None` before there was one.
    pub(super) fn origin(&self) -> Option<String> {
        (!self.url.is_empty()).then(|| origin(&self.url))
    }

    /// Whether an address is another server's than the one that was dialled last.
    pub(super) fn is_elsewhere(&self, server: &str) -> bool {
        server_origin(server).is_some_and(|dialled| dialled != origin(&self.url))
    }

    pub(super) fn ice_servers(&self) -> &[IceServer] {
        &self.ice_servers
    }

    /// Dials a server. An address that cannot be one is refused at once: no patience makes it
    /// better.
    pub(super) fn connect(&mut self, server: &str, now: Duration, outbox: &mut Outbox) {
        match socket_url(server) {
            Ok(url) => {
                self.url = url;
                self.attempts = 0;
                self.dial(now, outbox);
            }
            Err(error) => self.give_up(error.to_string(), error.to_string(), outbox),
        }
    }

    fn dial(&mut self, now: Duration, outbox: &mut Outbox) {
        self.state = LinkState::Opening(now + OPEN_TIMEOUT);
        outbox.notice(Notice::Link(page::Link::Connecting));
        outbox.act(Action::Transport(net::Command::OpenServer { url: self.url.clone() }));
    }

    /// The socket is open: this node introduces itself.
    pub(super) fn handle_open(me: NodeId, outbox: &mut Outbox) {
        outbox.send_server(&ToServer::Hello {
            protocol: PROTOCOL_VERSION,
            numerics: NUMERICS_VERSION,
            node: me,
        });
    }

    /// The server wants proof of the key.
    pub(super) fn handle_challenge(
        &self,
        nonce: &[u8; 32],
        identity: &Identity,
        room: Option<Invitation>,
        outbox: &mut Outbox,
    ) {
        let origin = origin(&self.url);
        let bytes = challenge_bytes(nonce, identity.node(), &origin);
        let signature = identity.sign(Purpose::Challenge, &bytes);
        let room = room.map(|room| Box::new(room.entry()));
        outbox.send_server(&ToServer::Prove { origin, signature, room });
    }

    pub(super) fn handle_welcome(
        &mut self,
        ice_servers: Vec<IceServer>,
        heartbeat_ms: u32,
        outbox: &mut Outbox,
    ) {
        self.ice_servers = ice_servers;
        self.state = LinkState::Open(Heartbeats::new(heartbeat_ms));
        outbox.notice(Notice::Link(page::Link::Open));
    }

    /// For connections that are opened from now on.
    pub(super) fn set_ice_servers(&mut self, ice_servers: Vec<IceServer>) {
        self.ice_servers = ice_servers;
    }

    /// This node sends the server a message.
    pub(super) fn note_sent(&mut self) {
        if let LinkState::Open(heartbeats) = &mut self.state {
            heartbeats.sent();
        }
    }

    /// The server said something. False if it is nobody's: of a connection that was given up.
    pub(super) fn note_heard(&mut self) -> bool {
        if let LinkState::Open(heartbeats) = &mut self.state {
            heartbeats.heard();
        }
        self.is_up()
    }

    /// The server does not want this node, for good or for now.
    pub(super) fn handle_refused(
        &mut self,
        reason: String,
        retry_after_ms: Option<u32>,
        me: NodeId,
        now: Duration,
        outbox: &mut Outbox,
    ) {
        let Some(retry_after_ms) = retry_after_ms else {
            let for_questions = format!("the server refused this node: {reason}");
            return self.give_up(reason, for_questions, outbox);
        };
        let asked = Duration::from_millis(retry_after_ms.into()).min(LAST_ASKED_RETRY);
        self.lose(reason, asked, me, now, outbox);
    }

    fn give_up(&mut self, reason: String, for_others: String, outbox: &mut Outbox) {
        self.state = LinkState::Off;
        outbox.act(Action::Transport(net::Command::CloseServer));
        outbox.raise(Event::LinkRefused { reason: for_others });
        outbox.notice(Notice::Link(page::Link::Refused { reason }));
    }

    /// The link is gone, and is dialled again after a wait.
    pub(super) fn handle_lost(
        &mut self,
        reason: String,
        me: NodeId,
        now: Duration,
        outbox: &mut Outbox,
    ) {
        self.lose(reason, Duration::ZERO, me, now, outbox);
    }

    /// `asked`: the server wants this node to wait at least so long.
    fn lose(
        &mut self,
        reason: String,
        asked: Duration,
        me: NodeId,
        now: Duration,
        outbox: &mut Outbox,
    ) {
        if !self.is_up() {
            return;
        }
        let wait = self.retry_after(asked, me.0[2]);
        self.attempts += 1;
        self.state = LinkState::Lost(now + wait);
        outbox.act(Action::Transport(net::Command::CloseServer));
        outbox.raise(Event::LinkLost);
        let retry_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        outbox.notice(Notice::Link(page::Link::Lost { reason, retry_ms }));
    }

    /// This machine was asleep: nobody knows what became of the socket, and the network may be
    /// another one.
    pub(super) fn handle_woke(&mut self, now: Duration, outbox: &mut Outbox) {
        match &mut self.state {
            LinkState::Open(heartbeats) => {
                heartbeats.woke();
                outbox.send_server(&ToServer::Heartbeat);
            }
            // The waits were for a server that was gone; now it may have been this machine.
            LinkState::Lost(at) => {
                self.attempts = 0;
                *at = now;
            }
            LinkState::Opening(until) => *until = now + OPEN_TIMEOUT,
            LinkState::Off => {}
        }
    }

    pub(super) fn tick(&mut self, me: NodeId, now: Duration, outbox: &mut Outbox) {
        match &mut self.state {
            LinkState::Lost(at) if now >= *at => self.dial(now, outbox),
            LinkState::Opening(at) if now >= *at => {
                let reason = "the server did not answer in time".to_owned();
                self.handle_lost(reason, me, now, outbox);
            }
            LinkState::Open(heartbeats) => {
                let due = heartbeats.tick();
                if heartbeats.is_steady() {
                    self.attempts = 0;
                }
                match due {
                    Due::Nothing => {}
                    Due::Heartbeat => outbox.send_server(&ToServer::Heartbeat),
                    Due::Silent(silence) => {
                        let seconds = silence.as_secs();
                        let reason = format!("the server has been silent for {seconds} s");
                        self.handle_lost(reason, me, now, outbox);
                    }
                }
            }
            LinkState::Lost(_) | LinkState::Opening(_) | LinkState::Off => {}
        }
    }

    /// Doubles from [`FIRST_RETRY`] to [`LAST_RETRY`], at least what the server asked for, then is
    /// stretched by up to a half, by the node's own id and the attempt, so that the nodes of a
    /// restarted server do not all come back in the same instant.
    fn retry_after(&self, asked: Duration, spread: u8) -> Duration {
        let doubled = FIRST_RETRY.saturating_mul(1 << self.attempts.min(10)).min(LAST_RETRY);
        let wait = doubled.max(asked);
        let part =
            u32::from(spread.wrapping_mul(37).wrapping_add((self.attempts % 251) as u8 ^ 0x5a));
        wait + wait * part / 512
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId([7; 32]);

    #[test]
    fn an_impossible_address_is_refused_once_and_not_dialled() {
        let (mut link, mut outbox) = (Link::default(), Outbox::default());
        link.connect("foo", Duration::ZERO, &mut outbox);
        let is_refusal = |action: &Action| {
            matches!(action, Action::Notice(Notice::Link(page::Link::Refused { reason }))
                if reason.contains("\"foo\" is not a server's address"))
        };
        assert!(outbox.actions.iter().any(is_refusal), "{:?}", outbox.actions);
        link.tick(NodeId([0; 32]), Duration::from_secs(60), &mut outbox);
        let dials =
            |action: &Action| matches!(action, Action::Transport(net::Command::OpenServer { .. }));
        assert!(link.is_off() && !outbox.actions.iter().any(dials), "{:?}", outbox.actions);
    }

    #[test]
    fn waits_grow_and_stay_bounded() {
        let mut link = Link::default();
        let mut last = Duration::ZERO;
        for attempts in 0..40 {
            link.attempts = attempts;
            let wait = link.retry_after(Duration::ZERO, 7);
            assert!(wait >= FIRST_RETRY && wait <= LAST_RETRY * 3 / 2, "{wait:?}");
            if attempts < 5 {
                assert!(wait > last, "attempt {attempts}: {wait:?} after {last:?}");
            }
            last = wait;
        }
    }

    /// The wait after a refusal that asks for `retry_after_ms`, by a server that welcomed this node
    /// just before, and what was waited after the loss before.
    fn wait_after_refusal(retry_after_ms: u32) -> Duration {
        let (mut link, mut outbox) = (Link::default(), Outbox::default());
        link.connect("http://test", Duration::ZERO, &mut outbox);
        link.handle_welcome(Vec::new(), 5_000, &mut outbox);
        let busy = "busy".to_owned();
        link.handle_refused(busy, Some(retry_after_ms), ME, Duration::ZERO, &mut outbox);
        let LinkState::Lost(at) = link.state else { panic!("{link:?}") };
        assert!(!outbox.events.iter().any(|event| matches!(event, Event::LinkRefused { .. })));
        at
    }

    #[test]
    fn a_refusal_for_now_is_waited_out_within_bounds() {
        assert!(wait_after_refusal(0) >= FIRST_RETRY, "never at once");
        let second = Duration::from_secs(1);
        for seconds in [1, 7, 60] {
            let wait = wait_after_refusal(seconds * 1000);
            assert!(wait >= second * seconds && wait <= second * seconds * 3 / 2, "{wait:?}");
        }
        assert!(wait_after_refusal(u32::MAX) <= LAST_ASKED_RETRY * 3 / 2, "nor tomorrow");
    }

    #[test]
    fn a_server_that_welcomes_and_refuses_in_turns_is_left_alone_more_and_more() {
        let (mut link, mut outbox) = (Link::default(), Outbox::default());
        link.connect("http://test", Duration::ZERO, &mut outbox);
        let mut waits = Vec::new();
        let mut now = Duration::ZERO;
        for _ in 0..8 {
            link.handle_welcome(Vec::new(), 5_000, &mut outbox);
            link.handle_refused("busy".to_owned(), Some(0), ME, now, &mut outbox);
            let LinkState::Lost(at) = link.state else { panic!("{link:?}") };
            waits.push(at - now);
            now = at;
            link.tick(ME, now, &mut outbox);
        }
        assert!(waits[7] >= LAST_RETRY, "{waits:?}");
        // A link that holds for a while makes up for it.
        link.handle_welcome(Vec::new(), 5_000, &mut outbox);
        for _ in 0..40 {
            assert!(link.note_heard());
            link.tick(ME, now, &mut outbox);
        }
        link.handle_lost("restarted".to_owned(), ME, now, &mut outbox);
        let LinkState::Lost(at) = link.state else { panic!("{link:?}") };
        assert!(at - now < 2 * FIRST_RETRY);
    }

    #[test]
    fn a_machine_that_wakes_up_dials_at_once() {
        let (mut link, mut outbox) = (Link::default(), Outbox::default());
        link.connect("http://test", Duration::ZERO, &mut outbox);
        for _ in 0..8 {
            link.handle_lost("no network".to_owned(), ME, Duration::ZERO, &mut outbox);
            link.dial(Duration::ZERO, &mut outbox);
        }
        link.handle_lost("no network".to_owned(), ME, Duration::ZERO, &mut outbox);
        outbox.actions.clear();
        let now = Duration::from_secs(1);
        link.tick(ME, now, &mut outbox);
        assert!(outbox.actions.is_empty(), "it waits for long");
        link.handle_woke(now, &mut outbox);
        link.tick(ME, now, &mut outbox);
        assert!(matches!(link.state, LinkState::Opening(_)));
    }
}
