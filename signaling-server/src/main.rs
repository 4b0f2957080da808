//! `potluck-server`: parses the arguments, then serves, or adds a model.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use potluck_server::config::{Arguments, Config, ModelTask, Task};
use potluck_server::models;
use potluck_server::server::Server;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("POTLUCK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result = match arguments.task {
        Some(Task::Model(ModelTask::Add { folder, data_dir })) => add_model(&folder, &data_dir),
        Some(Task::Serve(config)) => serve(config),
        None => serve(arguments.config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done if stderr is gone too.
            let _ = writeln!(std::io::stderr(), "potluck-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn add_model(folder: &std::path::Path, data_dir: &std::path::Path) -> anyhow::Result<()> {
    let id = models::add(folder, data_dir)?;
    writeln!(std::io::stdout(), "added {} as {id}", folder.display())?;
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
