//! The loop that drives a [`Node`]: it waits for what happens, lets the node handle it, and carries
//! out the actions.
//!
//! Steps are computed here, in batches of what waits; downloads run beside. The clock is read here
//! and nowhere else.

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use futures::stream::{Stream, StreamExt as _};
use futures::{FutureExt as _, select_biased};
use potluck_net::Transport;
use potluck_net::platform;
use potluck_net::weights::WeightStore;
use potluck_protocol::page::{Command, Notice};
use web_time::Instant;

use crate::machine::Machine;
use crate::node::{Action, Input, Node, TICK};

/// Drives `node` until `commands` ends and the last answer's receipts are signed.
///
/// Weights come from the server that a [`Command::Connect`] names; `notice` is called with
/// everything the person should know.
pub async fn run<T: Transport>(
    node: Node,
    mut transport: T,
    mut commands: impl Stream<Item = Command> + Unpin,
    store: WeightStore,
    mut notice: impl FnMut(Notice),
) {
    let machine = Machine::new(store);
    notice(Notice::Identity { node: node.id() });
    let mut driven = Driven { start: Instant::now(), node, machine, notice };
    let mut next_tick = TICK;
    let mut stopping = false;
    while !stopping || driven.node.is_settling() {
        let (mut inputs, mut download) = (VecDeque::new(), None);
        // With steps waiting there is no rest, but whatever has come in meanwhile comes first: it
        // may go into the same batch.
        let has_steps = driven.machine.has_steps();
        let wait = if has_steps {
            Duration::ZERO
        } else {
            next_tick.saturating_sub(driven.start.elapsed())
        };
        let is_full = driven.machine.is_full();
        // Biased: what the person wants comes before what the network wants.
        select_biased! {
            command = next_command(&mut commands, stopping).fuse() => match command {
                Some(command) => {
                    if let Command::Connect { server } = &command {
                        driven.machine.set_server(server);
                    }
                    inputs.push_back(Input::Command(command));
                }
                None => stopping = true,
            },
            event = next_event(&mut transport, is_full).fuse() => {
                inputs.push_back(Input::Transport(event));
            }
            finished = driven.machine.next_finished().fuse() => download = Some(finished),
            () = rest(wait).fuse() => {}
        }
        if let Some(finished) = download {
            // Not where it is waited for: a part may take a while to load, and must not be dropped
            // halfway when something else happens.
            driven.machine.finish(finished).await;
            inputs.extend(driven.machine.take_events().into_iter().map(Input::Machine));
        }
        if driven.start.elapsed() >= next_tick {
            next_tick = driven.start.elapsed() + TICK;
            inputs.push_back(Input::Tick);
        }
        driven.handle(inputs, &mut transport).await;
        for _ in 0..MAX_AT_ONCE {
            let Some(event) = next_event(&mut transport, driven.machine.is_full()).now_or_never()
            else {
                break;
            };
            driven.handle(VecDeque::from([Input::Transport(event)]), &mut transport).await;
        }
        if driven.machine.has_steps() {
            driven.machine.compute_next().await;
            let computed = driven.machine.take_events().into_iter().map(Input::Machine).collect();
            driven.handle(computed, &mut transport).await;
        }
    }
    // The transport goes with this, and what it has not sent yet: a signature, a good-bye.
    platform::sleep(LINGER).await;
}

/// The node, and what carries out its actions.
struct Driven<N> {
    start: Instant,
    node: Node,
    machine: Machine,
    notice: N,
}

impl<N: FnMut(Notice)> Driven<N> {
    /// Lets the node handle what happened, and carries out its actions, until nothing follows.
    async fn handle<T: Transport>(&mut self, mut inputs: VecDeque<Input>, transport: &mut T) {
        while let Some(input) = inputs.pop_front() {
            for action in self.node.handle(input, self.start.elapsed()) {
                match action {
                    Action::Transport(command) => transport.send(command),
                    Action::Notice(notice) => (self.notice)(notice),
                    action => {
                        self.machine.perform(action).await;
                        inputs.extend(self.machine.take_events().into_iter().map(Input::Machine));
                    }
                }
            }
        }
    }
}

/// The next event of the transport; none as long as enough steps wait, so that whoever sends more
/// of them has to wait as well.
async fn next_event(transport: &mut impl Transport, is_full: bool) -> potluck_net::Event {
    if is_full { std::future::pending().await } else { transport.next_event().await }
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

/// Events of the transport taken in before steps are computed: a step of every session and some
/// more; a flood must not keep the engine waiting.
const MAX_AT_ONCE: usize = 256;
/// How long the last words have to get onto the wire: many times what a channel that is open takes.
const LINGER: Duration = Duration::from_millis(300);
/// How long a program that asks waits for the last receipts before it leaves anyway.
pub const SETTLE: Duration = Duration::from_secs(10);
