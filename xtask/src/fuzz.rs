//! The fuzz step: readers of foreign files against a minute of bytes that nobody would write.
//!
//! `fuzz/` is laid out for `cargo fuzz`, which developers may use; here its targets are built with
//! the flags that it would give, so that the stable compiler does and nothing has to be installed.
//! What is found of new ground stays in the target folder and is gone on from.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::command::{Failure, Outcome, cargo, clean, root, run};
use xtask::programs::on_path;

/// The targets, one for every kind of file, one for messages and one for chunks of frames.
const TARGETS: [&str; 5] = ["gguf", "safetensors", "package", "codec", "reassembler"];
/// A minute in all.
const SECONDS_A_TARGET: u32 = 12;
/// Memory that bytes of a few kilobytes account for, and far less than a length that they invent.
const MEMORY_MB: u32 = 1024;
/// What makes a program tell the fuzzer where it has been.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Why the targets cannot be built here, if so.
pub(crate) fn missing() -> Option<&'static str> {
    let compilers = ["c++", "g++", "clang++"];
    let none = compilers.iter().all(|compiler| on_path(compiler).is_none());
    none.then_some("libFuzzer is C++, and there is no C++ compiler here")
}

/// Builds all targets and runs each for its time.
pub(crate) fn fuzz() -> Outcome {
    let (folder, host) = (root().join("fuzz"), host()?);
    let target_folder = root().join("target/fuzz");
    let mut build = cargo(&["build", "--locked", "--release"]);
    // With a target named, the flags do not reach build scripts, which the fuzzer is not linked to.
    build.args(["--target", &host]).arg("--manifest-path").arg(folder.join("Cargo.toml"));
    build.arg("--target-dir").arg(&target_folder).env("RUSTFLAGS", FLAGS);
    run(&mut build, "the fuzz targets were not built", "read the first error above")?;
    for target in TARGETS {
        let corpus = target_folder.join("corpus").join(target);
        fs::create_dir_all(&corpus).map_err(|error| {
            Failure::new(
                format!("could not create {}: {error}", corpus.display()),
                "is the disk full?",
            )
        })?;
        let mut command = clean(target_folder.join(&host).join("release").join(target));
        command
            .arg(format!("-max_total_time={SECONDS_A_TARGET}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB}"));
        command.arg(format!("-artifact_prefix={}/{target}-", target_folder.display()));
        command.args(["-timeout=10", "-print_final_stats=1", "-verbosity=0"]);
        command.arg(&corpus).arg(seeds(target)).current_dir(&folder);
        let remedy =
            format!("the bytes lie in {}; run the target on them", target_folder.display());
        run(&mut command, &format!("fuzzing {target} found something"), &remedy)?;
    }
    Ok(())
}

fn seeds(target: &str) -> PathBuf {
    root().join("fuzz/seeds").join(target)
}

/// The triple that the compiler builds for here.
fn host() -> Outcome<String> {
    let unknown = |why: String| {
        Failure::new(format!("rustc does not say what it builds for: {why}"), "is it installed?")
    };
    let output =
        Command::new("rustc").arg("-vV").output().map_err(|error| unknown(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned);
    host.ok_or_else(|| unknown("no line \"host: \"".to_owned()))
}
