//! Signs of life between this node and the server, both ways.
//!
//! A page sees no ping of a WebSocket, so they are messages: this node sends one when it has sent or
//! heard nothing for a while, and the server answers each at once. Silence is counted in ticks that
//! came, not in time that passed: a lid that was closed, or a process that was stopped, has no ticks,
//! and its own pause is not the server's.

use std::time::Duration;

use crate::node::TICK;

/// What one link has sent and heard lately.
#[derive(Debug)]
pub(super) struct Heartbeats {
    /// Ticks from one to the next.
    every: u32,
    /// Ticks since this node sent anything.
    since_sent: u32,
    /// Ticks since it sent a heartbeat.
    since_asked: u32,
    /// Ticks since the server said anything.
    since_heard: u32,
    /// Ticks that the server has to say something, where this machine was asleep and nobody knows
    /// what became of the socket.
    probe: Option<u32>,
    /// Ticks since the server welcomed this node.
    open: u32,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// A heartbeat is to be sent.
    Heartbeat,
    /// The server has said nothing for so long that it counts as gone.
    Silent(Duration),
}

/// The server names how often heartbeats come; not more often, whatever it says: each costs both a
/// message.
const LEAST_EVERY: Duration = Duration::from_millis(500);
/// And not more seldom: a server that is gone shows within a few minutes.
const MOST_EVERY: Duration = Duration::from_secs(60);
/// Heartbeats without an answer after which the server counts as gone.
const MISSED: u32 = 4;
/// Silence that is waited out in any case. A server that pauses for some seconds (a virtual machine
/// moves, a laptop hosts) finds everybody still there, and no session is lost by it.
const LEAST_SILENCE: Duration = Duration::from_secs(10);
/// How long the server has to answer after this machine was asleep. An answer takes a round trip, and
/// a socket that died meanwhile would otherwise be believed for [`LEAST_SILENCE`].
const PROBE: Duration = Duration::from_secs(3);
/// A link that held so long was a good one: the next loss is dialled with short waits again.
const STEADY: Duration = Duration::from_secs(5);

impl Heartbeats {
    /// Of a link that the server has just welcomed.
    pub(super) fn new(heartbeat_ms: u32) -> Self {
        let every = Duration::from_millis(heartbeat_ms.into()).clamp(LEAST_EVERY, MOST_EVERY);
        Self {
            every: ticks(every),
            since_sent: 0,
            since_asked: 0,
            since_heard: 0,
            probe: None,
            open: 0,
        }
    }

    /// This node sent a message.
    pub(super) fn sent(&mut self) {
        self.since_sent = 0;
    }

    /// The server said something.
    pub(super) fn heard(&mut self) {
        self.since_heard = 0;
        self.probe = None;
    }

    /// This machine was asleep, and the server is asked at once.
    pub(super) fn woke(&mut self) {
        self.probe = Some(ticks(PROBE));
        self.ask();
    }

    /// A tick came.
    pub(super) fn tick(&mut self) -> Due {
        for ticks in [&mut self.since_sent, &mut self.since_asked, &mut self.since_heard] {
            *ticks = ticks.saturating_add(1);
        }
        self.open = self.open.saturating_add(1);
        self.probe = self.probe.map(|left| left.saturating_sub(1));
        let patience = (self.every * MISSED).max(ticks(LEAST_SILENCE));
        if self.probe == Some(0) || self.since_heard >= patience {
            return Due::Silent(TICK * self.since_heard);
        }
        // Also where it only listens to itself: what it sends need not be answered.
        let is_quiet = self.since_sent.max(self.since_heard) >= self.every;
        if is_quiet && self.since_asked >= self.every { self.ask() } else { Due::Nothing }
    }

    /// True once the link has held for a while.
    pub(super) fn is_steady(&self) -> bool {
        self.open >= ticks(STEADY)
    }

    fn ask(&mut self) -> Due {
        (self.since_sent, self.since_asked) = (0, 0);
        Due::Heartbeat
    }
}

fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_MS: u32 = 2_000;
    const EVERY_TICKS: u32 = 8;

    /// What was due in so many ticks, but nothing.
    fn due(heartbeats: &mut Heartbeats, ticks: u32) -> Vec<Due> {
        (0..ticks).map(|_| heartbeats.tick()).filter(|due| *due != Due::Nothing).collect()
    }

    #[test]
    fn a_quiet_link_has_a_heartbeat_each_time_and_is_given_up_when_none_is_answered() {
        let mut heartbeats = Heartbeats::new(EVERY_MS);
        for _ in 0..5 {
            assert_eq!(due(&mut heartbeats, EVERY_TICKS), [Due::Heartbeat]);
            heartbeats.heard();
        }
        assert_eq!(
            due(&mut heartbeats, 39),
            [Due::Heartbeat, Due::Heartbeat, Due::Heartbeat, Due::Heartbeat]
        );
        assert_eq!(heartbeats.tick(), Due::Silent(LEAST_SILENCE));
    }

    #[test]
    fn who_talks_without_an_answer_asks_for_one_and_who_is_talked_to_says_something() {
        let mut talks = Heartbeats::new(EVERY_MS);
        let mut asked = 0;
        for _ in 0..3 * EVERY_TICKS {
            talks.sent();
            asked += u32::from(talks.tick() == Due::Heartbeat);
        }
        assert_eq!(asked, 3, "reports are not answered, so silence would say nothing");
        let mut listens = Heartbeats::new(EVERY_MS);
        let mut said = 0;
        for _ in 0..3 * EVERY_TICKS {
            listens.heard();
            said += u32::from(listens.tick() == Due::Heartbeat);
        }
        assert_eq!(said, 3, "the server wants a sign of life as well");
    }

    #[test]
    fn a_machine_that_was_asleep_asks_at_once_and_waits_a_short_while() {
        let mut heartbeats = Heartbeats::new(EVERY_MS);
        heartbeats.woke();
        heartbeats.heard();
        assert!(due(&mut heartbeats, ticks(PROBE)).iter().all(|due| *due == Due::Heartbeat));
        heartbeats.heard();
        heartbeats.woke();
        let due = due(&mut heartbeats, ticks(PROBE));
        assert_eq!(due.last(), Some(&Due::Silent(PROBE)));
    }

    #[test]
    fn the_servers_wish_is_bounded() {
        assert_eq!(Heartbeats::new(0).every, ticks(LEAST_EVERY));
        assert_eq!(Heartbeats::new(u32::MAX).every, ticks(MOST_EVERY));
        let mut slow = Heartbeats::new(u32::MAX);
        let silent = (1..).find(|_| matches!(slow.tick(), Due::Silent(_)));
        assert_eq!(silent, Some(MISSED * ticks(MOST_EVERY)));
    }

    #[test]
    fn a_link_is_steady_after_a_while() {
        let mut heartbeats = Heartbeats::new(EVERY_MS);
        due(&mut heartbeats, ticks(STEADY) - 1);
        assert!(!heartbeats.is_steady());
        heartbeats.tick();
        assert!(heartbeats.is_steady());
    }
}
