//! Building: native programs in the one native profile, the page with trunk in the release profile,
//! both into one target folder.

use std::path::PathBuf;

use crate::command::{Failure, Outcome, cargo, clean, root, run};
use crate::setup::Builders;
use crate::shrink;
use crate::wasm_target::WASM_TARGET;

/// Where the page is built to.
pub(crate) fn page_folder() -> PathBuf {
    root().join("dist")
}

/// Builds every native program: server, node, demo, bench. The workspace's default members, so that
/// features come out as in plain `cargo build` and nothing is built twice.
pub(crate) fn native() -> Outcome {
    run(
        &mut cargo(&["build", "--locked", "--bins"]),
        "the native build failed",
        "read the first error above",
    )
}

/// Builds the page and its worker into `dist/`.
pub(crate) fn page(builders: &Builders) -> Outcome {
    // Fetched by cargo beforehand, so that trunk may be told to stay off the network: else it would
    // download tools of its own choice.
    run(
        &mut cargo(&["fetch", "--locked", "--target", WASM_TARGET]),
        "the page's dependencies could not be downloaded",
        "check the network, then run this again",
    )?;
    let mut trunk = clean("trunk");
    builders.apply(&mut trunk);
    trunk
        .args(["build", "--release", "--locked", "--offline", "--skip-version-check", "--dist"])
        .arg(page_folder())
        .current_dir(root());
    same_artefacts(&mut trunk);
    run(&mut trunk, "building the page failed", "read the first error above")?;
    shrink::page(&page_folder())
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
    same_artefacts(&mut build);
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

/// Sets what makes the page's build and the wasm tests share artefacts: `cargo test` ignores a
/// profile's panic strategy, and wasm32-unknown-unknown aborts whatever it says, so leaving it out
/// changes nothing but the artefacts' names.
pub(crate) fn same_artefacts(command: &mut std::process::Command) {
    command.env("CARGO_PROFILE_RELEASE_PANIC", "unwind");
}
