//! Building: native programs in the one native profile, the page in the release profile, both into
//! one target folder.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use crate::command::{Failure, Outcome, cargo, clean, root, run};
use crate::page;
use crate::setup::{self, Builders};
use crate::wasm_target::WASM_TARGET;

/// Where the page is built to.
pub(crate) fn page_folder() -> PathBuf {
    root().join("dist")
}

/// Builds every native program: server, node, demo, bench. The workspace's default members, so that
/// features come out as in plain `cargo build` and nothing is built twice.
pub(crate) fn native() -> Outcome {
    native_targets(&["--bins"])
}

/// Builds the server, what it starts to test an import, the node and one more program: what a demo or a
/// benchmark starts. Of the same packages as [`native`], so that it builds nothing that would have to be
/// built again there.
pub(crate) fn swarm_with(program: &str) -> Outcome {
    let bins = ["potluck-server", "potluck-model-check", "potluck-node", COMPRESSOR, program];
    native_targets(&bins.map(|name| ["--bin", name]).concat())
}

/// Builds the server as people run it, into `target/server`.
pub(crate) fn optimised_server() -> Outcome {
    run(
        &mut cargo(&["build", "--locked", "--profile", "server", "--bin", "potluck-server"]),
        "the optimised build of the server failed",
        "read the first error above",
    )
}

fn native_targets(targets: &[&str]) -> Outcome {
    run(
        cargo(&["build", "--locked"]).args(targets),
        "the native build failed",
        "read the first error above",
    )
}

/// Builds the page and its worker into `dist/`.
pub(crate) fn page(builders: &Builders) -> Outcome {
    stage_page(builders)?;
    native_targets(&["--bin", COMPRESSOR])?;
    publish_page()
}

/// The program that compresses the page's files, in crate `e2e`: this one has no dependencies.
const COMPRESSOR: &str = "compress";

fn stage_page(builders: &Builders) -> Outcome {
    // Beforehand, because `trunk serve` builds the same page without a network.
    run(
        &mut cargo(&["fetch", "--quiet", "--locked", "--target", WASM_TARGET]),
        "the page's dependencies could not be downloaded",
        "check the network, then run this again",
    )?;
    page::stage(builders)
}

/// Compresses what was staged, once for all who will fetch it, and puts it into `dist/`.
fn publish_page() -> Outcome {
    let mut compress = program_beside(COMPRESSOR)?;
    compress.arg(page::staged_folder()).arg(root().join("target/brotli"));
    run(&mut compress, "the page could not be compressed", "read the line above")?;
    page::publish(&page_folder())
}

/// Every native program and the page.
pub(crate) fn everything() -> Outcome {
    beside_page(native)
}

/// Installs what building takes, and builds the page beside the `native` programs: each of the two
/// ends with minutes in which only one processor has work.
pub(crate) fn beside_page(native: impl FnOnce() -> Outcome) -> Outcome {
    thread::scope(|scope| {
        let page = scope.spawn(|| stage_page(&setup::builders()?));
        let native = native();
        if native.is_ok() && !page.is_finished() {
            eprintln!("the native programs are built; the page is not yet");
        }
        let page = page.join().unwrap_or_else(|_| {
            Err(Failure::new("building the page panicked", "that is a fault in xtask"))
        });
        native.and(page).and_then(|()| publish_page())
    })
}

/// The built program of that name, which lies beside this one.
pub(crate) fn program_beside(program: &str) -> Outcome<Command> {
    let here = env::current_exe().map_err(|error| {
        Failure::new(
            format!("this program's own path is not known ({error})"),
            format!("run target/debug/{program} yourself"),
        )
    })?;
    Ok(Command::new(here.with_file_name(format!("{program}{}", env::consts::EXE_SUFFIX))))
}

/// Builds the page that measures engines in a browser into `target/bench-page`.
pub(crate) fn bench_page(builders: &Builders) -> Outcome {
    let folder = root().join("target/bench-page");
    let mut build = cargo(&[
        "build",
        "--locked",
        "--release",
        "--target",
        WASM_TARGET,
        "-p",
        "potluck-bench",
        "--lib",
    ]);
    builders.apply(&mut build);
    run(&mut build, "building the benchmark's page failed", "read the first error above")?;
    let mut bind = clean("wasm-bindgen");
    builders.apply(&mut bind);
    bind.args(["--target", "web", "--out-dir"]).arg(&folder);
    bind.arg(root().join("target").join(WASM_TARGET).join("release/potluck_bench.wasm"));
    run(&mut bind, "wasm-bindgen failed on the benchmark's page", "read the line above")?;
    for page in ["index.html", "encoder.html", "stream.html"] {
        std::fs::copy(root().join("benches/page").join(page), folder.join(page)).map_err(
            |error| {
                Failure::new(
                    format!("could not write into {}: {error}", folder.display()),
                    "is the disk full?",
                )
            },
        )?;
    }
    Ok(())
}
