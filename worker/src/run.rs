//! The loop that drives a [`Node`]: it waits for what happens, asks the node what to do, and does it.
//!
//! Steps are computed here, in batches of what waits; downloads run beside. The clock is read here and nowhere else.

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
/// Weights come from the server that a [`Command::Connect`] names; `notice` is called with everything the person should know.
pub async fn run<T: Transport>(
    mut node: Node,
    mut transport: T,
    mut commands: impl Stream<Item = Command> + Unpin,
    store: WeightStore,
    mut notice: impl FnMut(Notice),
) {
    let start = Instant::now();
    let mut machine = Machine::new(store);
    notice(Notice::Identity { node: node.id() });
    let mut next_tick = TICK;
    let mut stopping = false;
    let mut inputs = VecDeque::new();
    let mut computed = false;
    while !stopping || node.is_settling() {
        // With steps waiting there is no rest, but whatever has come in meanwhile comes first: it may go into the same batch.
        let wait = if machine.has_steps() { Duration::ZERO } else { next_tick.saturating_sub(start.elapsed()) };
        // Biased: what the person wants comes before what the network wants.
        select_biased! {
            command = next_command(&mut commands, stopping).fuse() => match command {
                Some(command) => {
                    if let Command::Connect { server } = &command {
                        machine.set_server(server);
                    }
                    inputs.push_back(Input::Command(command));
                }
                None => stopping = true,
            },
            event = transport.next_event().fuse() => inputs.push_back(Input::Transport(event)),
            event = machine.next_event().fuse() => inputs.push_back(Input::Machine(event)),
            () = rest(wait).fuse() => {}
        }
        for event in std::iter::from_fn(|| transport.next_event().now_or_never()).take(MAX_AT_ONCE) {
            inputs.push_back(Input::Transport(event));
        }
        if start.elapsed() >= next_tick {
            next_tick = start.elapsed() + TICK;
            inputs.push_back(Input::Tick);
        }
        // A batch's results are passed on before anything else is taken in.
        loop {
            while let Some(input) = inputs.pop_front() {
                for action in node.handle(input, start.elapsed()) {
                    match action {
                        Action::Transport(command) => transport.send(command),
                        Action::Notice(told) => notice(told),
                        action => inputs.extend(machine.perform(action).await.map(Input::Machine)),
                    }
                }
            }
            if computed || !machine.has_steps() {
                break;
            }
            computed = true;
            inputs.extend(machine.compute_next().await.into_iter().map(Input::Machine));
        }
        computed = false;
    }
}

/// Waits. Natively what comes in does so beside this loop; a browser has to be let do it.
async fn rest(wait: Duration) {
    if !wait.is_zero() || cfg!(target_arch = "wasm32") {
        platform::sleep(wait).await;
    }
}

/// The next command; never, once there are no more.
async fn next_command(commands: &mut (impl Stream<Item = Command> + Unpin), ended: bool) -> Option<Command> {
    if ended { std::future::pending().await } else { commands.next().await }
}

/// Events of the transport taken in before steps are computed: a step of every session and some more; a flood must not keep the engine waiting.
const MAX_AT_ONCE: usize = 256;
/// How long a program that asks waits for the last receipts before it leaves anyway.
pub const SETTLE: Duration = Duration::from_secs(10);
