//! `cargo xtask bench engine` and `cargo xtask bench peers`: how fast the engine is, alone and
//! beside the engines that people would use otherwise; `cargo xtask bench scheduler`: what an event
//! costs the server.
//!
//! Everything runs on this machine, on the same shapes of random weights, in turns; medians count,
//! and of ratios the median of each turn's. Nothing is asserted.
#![cfg_attr(
    not(target_arch = "wasm32"),
    expect(clippy::print_stdout, reason = "a command-line program; printing is what it is for")
)]

#[cfg(target_arch = "wasm32")]
fn main() {}

#[cfg(not(target_arch = "wasm32"))]
#[tokio::main]
async fn main() -> std::process::ExitCode {
    use clap::Parser as _;
    use std::process::ExitCode;

    let options = command_line::Options::parse();
    let measured = match options.measure().await {
        Ok(measured) => measured,
        Err(error) => {
            eprintln!("bench: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    if options.json {
        println!("{}", serde_json::json!(measured));
    } else {
        println!("{}", e2e::measured::table(&measured));
    }
    ExitCode::SUCCESS
}

#[cfg(not(target_arch = "wasm32"))]
mod command_line {
    use anyhow::Context as _;
    use clap::{Parser, ValueEnum};
    use e2e::measured::Measured;
    use e2e::programs::root;
    use potluck_bench::architectures;
    use potluck_bench::native::obey;
    use potluck_bench::scheduler;
    use potluck_bench::shapes::{SHAPES, Shape};
    use potluck_bench::tables::{Plan, beside_peers, engine};

    /// Measure the engine, or the scheduler, on this machine.
    #[derive(Debug, Parser)]
    #[command(name = "cargo xtask bench", version)]
    pub(crate) struct Options {
        /// The engine, alone or beside peers, or the scheduler.
        what: What,
        /// Only this shape (or `MiniLM`, an encoder); all of them if left out.
        #[arg(long)]
        shape: Option<String>,
        /// Turns of each measurement; the median counts.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        /// Tokens of the text that is taken in.
        #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(8..1024))]
        prefill: u32,
        /// Tokens to sample.
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..1024))]
        decode: u32,
        /// Leave the browser out.
        #[arg(long)]
        no_pages: bool,
        /// Print one JSON array on stdout, and all else on stderr.
        #[arg(long)]
        pub(crate) json: bool,
    }

    #[derive(Clone, Copy, Debug, ValueEnum)]
    enum What {
        /// The engine on every backend of this machine.
        Engine,
        /// Beside llama.cpp, wllama and onnxruntime-web, which are installed into target/peers.
        Peers,
        /// What the parts of architectures cost, on the processor.
        Architectures,
        /// The server's scheduler, with many lenders and sessions.
        Scheduler,
        /// Obey a measuring process: a GPU's engine of one shape.
        #[value(hide = true)]
        Drive,
    }

    /// The encoder's name among the shapes.
    const ENCODER: &str = "MiniLM";

    impl Options {
        pub(crate) async fn measure(&self) -> anyhow::Result<Vec<Measured>> {
            let names = || SHAPES.map(|shape| shape.name).join(", ");
            let shapes: Vec<Shape> = match self.shape.as_deref() {
                None => SHAPES.to_vec(),
                Some(ENCODER) => Vec::new(),
                Some(name) => {
                    let unknown = || format!("no shape {name}; there are {}, {ENCODER}", names());
                    vec![Shape::named(name).with_context(unknown)?]
                }
            };
            let encoder = self.shape.as_deref().is_none_or(|shape| shape == ENCODER);
            let Self { runs, prefill, decode, .. } = *self;
            let plan = Plan { runs, prefill, decode, pages: !self.no_pages, encoder };
            let pages = root().join("target/bench-page");
            match self.what {
                What::Engine => engine(plan, &shapes, &pages).await,
                What::Peers => beside_peers(plan, &shapes, &pages).await,
                What::Architectures => architectures::measure(runs, prefill, decode),
                What::Scheduler => scheduler::measure(&scheduler::LENDERS, scheduler::SESSIONS),
                What::Drive => {
                    let shape = shapes.first().context("which shape?")?;
                    obey(shape, std::io::stdin().lock(), std::io::stdout().lock())
                        .map(|()| Vec::new())
                }
            }
        }
    }
}
