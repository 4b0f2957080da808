//! Nodes that work at less than their speed, and nodes that are paused.
//!
//! A throttled node is planned as the slower node that it is. Nothing is routed through a paused one,
//! and its sessions go on elsewhere; its layers stay its own for a while, its *seat*, as most pauses
//! are short and moving weights is dear. After that others get them, and it is given layers anew when
//! it comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use potluck_protocol::id::NodeId;

use super::speed::Pace;
use super::{Action, Scheduler};

/// How long a paused node keeps its layers: somebody looked at another tab, or unplugged a laptop to
/// carry it. Fetching layers elsewhere takes about as long.
pub(super) const SEAT_KEPT: Duration = Duration::from_secs(30);

/// When paused nodes lose their seats.
#[derive(Debug, Default)]
pub(super) struct Seats {
    kept_until: BTreeSet<(Duration, NodeId)>,
}

impl Seats {
    /// The node lends no more, or is not paused any more.
    pub(super) fn forget(&mut self, node: NodeId, paused_at: Option<Duration>) {
        if let Some(paused_at) = paused_at {
            self.kept_until.remove(&(paused_at + SEAT_KEPT, node));
        }
    }

    /// When the next one is lost.
    pub(super) fn next_end(&self) -> Option<Duration> {
        self.kept_until.first().map(|(until, _)| *until)
    }
}

impl Scheduler {
    /// A node says at which share of its speed it works from now on, percent.
    pub(super) fn change_pace(
        &mut self,
        node: NodeId,
        percent: u8,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(known) = self.nodes.get(&node).and_then(|state| state.registration.as_ref())
        else {
            return;
        };
        let (before, paused_at, assigned) = (known.pace, known.paused_at, known.assigned);
        match (Pace::new(percent), paused_at) {
            (None, Some(_)) => {}
            (None, None) => {
                self.change_registration(node, |known| known.paused_at = Some(now));
                self.seats.kept_until.insert((now + SEAT_KEPT, node));
                self.end_sessions_through(node, "paused", now, actions);
            }
            (Some(pace), paused_at) => {
                self.seats.forget(node, paused_at);
                self.change(node, |state| {
                    if let Some(known) = &mut state.registration {
                        known.paused_at = None;
                        known.pace = pace;
                        state.shown.change_pace(before, pace, now);
                    }
                });
                if pace != before || assigned.is_none() {
                    self.settling.disturb(now);
                }
            }
        }
    }

    /// Plans without those whose seats are lost by now.
    pub(super) fn clear_seats(&mut self, now: Duration) {
        while let Some((until, node)) = self.seats.kept_until.first().copied()
            && until <= now
        {
            self.seats.kept_until.remove(&(until, node));
            self.settling.disturb(now);
        }
    }
}
