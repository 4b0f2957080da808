//! `potluck-node`: joins a swarm, or asks one, from the command line.

mod arguments;
mod ask;
mod battery;
mod checks;
mod clock;
mod gateway;
mod grants;
mod home;
mod join;
mod key;
mod local;
mod quiet;
mod room;
mod terminal;
mod withdraw;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use arguments::{Arguments, Task};

/// Parses the arguments, runs the task, and turns an error into one line on stderr.
pub(crate) fn main() -> ExitCode {
    quiet::with_runtime_folder();
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("POTLUCK_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "could not start");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match arguments.task {
            Task::Join(options) => join::join(options).await,
            Task::Withdraw(options) => withdraw::withdraw(options),
            Task::Ask(options) => ask::ask(options).await,
            Task::Gateway(options) => gateway::gateway(options).await,
            Task::Key(options) => key::key(options).await,
            Task::Room(options) => room::room(options).await,
            Task::Local(options) => local::local(options).await,
        }
    });
    // Connections close by themselves; nothing here is worth waiting for.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) => {
            terminal::say(&format!("potluck-node: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
