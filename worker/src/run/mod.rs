//! The loop that drives a [`Node`]: it waits for what happens, lets the node handle it, and carries
//! out the actions.
//!
//! It waits for nothing else: the engine starts and computes beside it, in batches of what waits,
//! and so do downloads. However long those take, the person can stop them, and the server has its
//! signs of life. The clocks are read here and nowhere else.

mod clock;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod stopping_tests;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{Stream, StreamExt as _};
use futures::{FutureExt as _, select_biased};
use potluck_net::Transport;
use potluck_net::platform;
use potluck_net::weights::WeightStore;
use potluck_protocol::page::{Command, Notice};
use web_time::{Instant, SystemTime, UNIX_EPOCH};

use self::clock::{Clock, Reading};
use crate::machine::Machine;
use crate::node::{Action, Input, Node, Now, TICK};

/// Drives `node` until `commands` ends and the last answer's receipts are signed.
///
/// Weights come from the server that a [`Command::Connect`] names; `notice` is called with
/// everything the person should know. Natively it has to be used inside a tokio runtime.
pub async fn run<T: Transport>(
    node: Node,
    mut transport: T,
    mut commands: impl Stream<Item = Command> + Unpin,
    store: WeightStore,
    mut notice: impl FnMut(Notice),
) {
    #[allow(
        clippy::arc_with_non_send_sync,
        reason = "natively it goes to the engines' threads; in a page there is only one"
    )]
    let store = Arc::new(store);
    let (machine, own) = (Machine::new(Arc::clone(&store)), Machine::new(store));
    notice(Notice::Identity { node: node.id() });
    let mut driven =
        Driven { start: Start::now(), clock: Clock::default(), node, machine, own, notice };
    let mut next_tick = TICK;
    let mut stopping = false;
    while !stopping || driven.node.is_settling() {
        let mut inputs = VecDeque::new();
        // With steps to compute there is no rest but the engine's own, and whatever has come in
        // meanwhile comes first: it may go into the same batch.
        // Of a grant that has ended, nothing is computed that waits still; the next tick ends all of it.
        let now = driven.now();
        let computes_at = driven.machine.computes_at(now);
        let computes_at = computes_at.filter(|_| driven.node.may_compute(calendar()));
        let can_compute = computes_at.is_some_and(|at| at <= now);
        // The person's own questions need nobody's grant.
        let own_computes_at = driven.own.computes_at(now);
        let next =
            [computes_at, own_computes_at].into_iter().flatten().fold(next_tick, Duration::min);
        let wait = next.saturating_sub(now);
        // Biased: what the person wants comes before what the network wants.
        select_biased! {
            command = next_command(&mut commands, stopping).fuse() => match command {
                Some(command) => {
                    if let Command::Connect { server, .. } = &command {
                        driven.machine.set_server(server);
                        driven.own.set_server(server);
                    }
                    inputs.push_back(Input::Command(command));
                }
                None => stopping = true,
            },
            event = transport.next_event().fuse() => {
                inputs.push_back(Input::Transport(event));
            }
            event = driven.machine.next_event().fuse() => inputs.push_back(Input::Machine(event)),
            event = driven.own.next_event().fuse() => inputs.push_back(Input::Own(event)),
            () = rest(wait).fuse() => {}
        }
        let now = driven.now();
        if driven.clock.take_woke() {
            inputs.push_front(Input::Woke);
        }
        if now >= next_tick {
            next_tick = now + TICK;
            inputs.push_back(Input::Tick);
        }
        driven.handle(inputs, &mut transport);
        for _ in 0..MAX_AT_ONCE {
            let Some(event) = transport.next_event().now_or_never() else { break };
            driven.handle([Input::Transport(event)], &mut transport);
        }
        // A flood of the one must not keep the other waiting.
        for _ in 0..MAX_AT_ONCE {
            let Some(event) = driven.machine.next_event().now_or_never() else { break };
            driven.handle([Input::Machine(event)], &mut transport);
        }
        for _ in 0..MAX_AT_ONCE {
            let Some(event) = driven.own.next_event().now_or_never() else { break };
            driven.handle([Input::Own(event)], &mut transport);
        }
        if can_compute {
            let now = driven.now();
            driven.machine.compute(now);
        }
        if own_computes_at.is_some() {
            let now = driven.now();
            driven.own.compute(now);
        }
    }
    // The transport goes with this, and what it has not sent yet: a signature, a good-bye.
    platform::sleep(LINGER).await;
}

/// The node, and what carries out its actions.
struct Driven<N> {
    start: Start,
    clock: Clock,
    node: Node,
    /// The one that is lent.
    machine: Machine,
    /// The one for the person's own questions.
    own: Machine,
    notice: N,
}

/// When the loop started, by both clocks.
struct Start {
    steady: Instant,
    calendar: SystemTime,
}

impl Start {
    fn now() -> Self {
        Self { steady: Instant::now(), calendar: SystemTime::now() }
    }

    fn read(&self) -> Reading {
        // Before the start, if somebody has set the clock back: as good as no time at all.
        let calendar = self.calendar.elapsed().unwrap_or_default();
        Reading { steady: self.steady.elapsed(), calendar }
    }
}

impl<N: FnMut(Notice)> Driven<N> {
    fn now(&mut self) -> Duration {
        let busy = self.machine.take_busy() + self.own.take_busy();
        self.clock.now(self.start.read(), busy)
    }

    /// Lets the node handle what happened, and carries out its actions.
    fn handle(&mut self, inputs: impl IntoIterator<Item = Input>, transport: &mut impl Transport) {
        for input in inputs {
            let now = Now { since_start: self.now(), calendar: calendar() };
            for action in self.node.handle(input, now) {
                match action {
                    Action::Transport(command) => transport.send(command),
                    Action::Notice(notice) => (self.notice)(notice),
                    Action::Own(action) => self.own.perform(*action),
                    action => self.machine.perform(action),
                }
            }
        }
    }
}

/// Time since 1970. No time at all before it: then nothing that anybody said yes to has begun.
fn calendar() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Waits. Natively what comes in does so beside this loop; a browser has to be let do it.
async fn rest(wait: Duration) {
    if !wait.is_zero() || cfg!(target_arch = "wasm32") {
        platform::sleep(wait).await;
    }
}

/// The next command; never, once there are no more.
async fn next_command(
    commands: &mut (impl Stream<Item = Command> + Unpin),
    ended: bool,
) -> Option<Command> {
    if ended { std::future::pending().await } else { commands.next().await }
}

/// Events of the transport, and of the machine, taken in before steps are computed: a step of every
/// session and some more; a flood must not keep the engine waiting.
const MAX_AT_ONCE: usize = 256;
/// How long the last words have to get onto the wire: many times what a channel that is open takes.
const LINGER: Duration = Duration::from_millis(300);
/// How long a program that asks waits for the last receipts before it leaves anyway.
pub const SETTLE: Duration = Duration::from_secs(10);
