//! `cargo xtask demo`: a swarm on this machine, one question, and the table of who computed what.
//!
//! It then stays up, so that anyone can open the page and join, until Ctrl-C; whatever it started
//! ends with it.
#![expect(clippy::print_stdout, reason = "a command-line program; printing is what it is for")]

mod options;
mod report;

use std::future::pending;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use clap::Parser as _;
use e2e::browser::Graphics;
use e2e::programs::native;
use e2e::question::Answer;
use e2e::server::port_is_free;
use e2e::swarm::Swarm;

use options::Options;
use report::Report;

#[tokio::main]
async fn main() -> ExitCode {
    match demo(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(options: &Options) -> anyhow::Result<()> {
    if options.port != 0 && !port_is_free(options.port)? {
        bail!("port {} is in use; name another one with --port, or 0 for any", options.port);
    }
    let swarm = start(options).await?;
    let before = swarm.serving(options.natives + options.browsers()?).await?;
    for node in before.serving() {
        if let Some(layers) = node.range() {
            eprintln!("{} ({}) serves {layers}", node.name, node.kind);
        }
    }
    eprintln!("\nasking, with seed {}: {}\n", options.seed, options.prompt);
    let answer = ask(options, &swarm).await?;
    let report = Report::gather(options, &swarm, &before, answer).await?;
    if options.json {
        println!("{}", report.json());
    } else {
        println!("\n{}", report.table());
    }
    if options.once {
        return swarm.stop().await;
    }
    eprintln!("From a terminal:");
    let program = native("potluck-node")?;
    eprintln!("  {} join {} --accept", program.display(), swarm.url());
    eprintln!("  {} ask {} \"What is Potluck?\"", program.display(), swarm.url());
    eprintln!("Ctrl-C ends everything that was started here.");
    eprintln!("Open {} in your own browser to join this swarm, or to ask it.", swarm.url());
    // Ctrl-C is handled where the processes are kept.
    pending().await
}

async fn start(options: &Options) -> anyhow::Result<Swarm> {
    let browsers = options.browsers()?;
    if browsers < options.browsers {
        eprintln!("no Chromium with chromedriver here, so no browsers take part by themselves");
    }
    if browsers + options.natives == 0 {
        bail!("nobody would take part; start at least one with --natives 1");
    }
    eprintln!("starting a server, {} native and {browsers} browser nodes", options.natives);
    let mut swarm = Swarm::start_on("demo", options.port, true).await?;
    for _ in 0..options.natives {
        swarm.add_native(&[])?;
    }
    for _ in 0..browsers {
        swarm.add_lending_browser(Graphics::Machine, "").await?;
    }
    Ok(swarm)
}

/// Asks, and prints what the requester prints as it comes: who computes, then the text.
async fn ask(options: &Options, swarm: &Swarm) -> anyhow::Result<Answer> {
    let mut asking = swarm.start_asking(&options.question())?;
    while let Some(words) = asking.next_words().await? {
        // With --json, stdout is for the object alone.
        if options.json {
            eprint!("{words}");
        } else {
            print!("{words}");
            std::io::stdout().flush()?;
        }
    }
    asking.answer().await
}
