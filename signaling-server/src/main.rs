//! `potluck-server`: parses the arguments, then serves, or manages models.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use potluck_importer::Options;
use potluck_protocol::terminal::printable;
use potluck_server::config::{Arguments, Config, ModelTask, Task};
use potluck_server::models;
use potluck_server::server::Server;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("POTLUCK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result = match arguments.task {
        Some(Task::Model(task)) => model(task),
        Some(Task::Serve(config)) => serve(*config),
        None => serve(arguments.config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = printable(&format!("{error:#}"));
            // Nothing can be done if stderr is gone too.
            let _ = writeln!(std::io::stderr(), "potluck-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn model(task: ModelTask) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    match task {
        ModelTask::Add { source, weights, context, name, no_self_test, data_dir } => {
            let options = Options { weight_bits: weights.bits(), context, name };
            let added = models::add(&source, &data_dir, &options)?;
            writeln!(stdout, "added {} as {}", added.name, added.id)?;
            if !no_self_test {
                stdout.flush()?;
                writeln!(stdout, "{}", printable(&added.self_test(&data_dir)))?;
            }
        }
        ModelTask::List { data_dir } => write!(stdout, "{}", printable(&models::list(&data_dir)?))?,
        ModelTask::Check { model, text, against, data_dir } => {
            let report = models::check(&model, text.as_deref(), against.as_deref(), &data_dir)?;
            writeln!(stdout, "{}", printable(&report))?;
        }
        ModelTask::Remove { model, data_dir } => {
            models::remove(&model, &data_dir)?;
            writeln!(stdout, "removed {model}")?;
        }
    }
    Ok(())
}

#[tokio::main]
async fn serve(config: Config) -> anyhow::Result<()> {
    let server = Server::bind(config).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{}", server.local_addr())?;
    stdout.flush()?;
    server.run(stop_requested()).await
}

/// Ctrl-C or SIGTERM.
async fn stop_requested() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler there is nothing to wait for but the end of the process.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
