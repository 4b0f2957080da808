//! `potluck-model-check`, run as `potluck-server model check` runs it: on a model imported into a
//! data folder, against the folder that it came from.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use potluck_importer::import_folder;
use tempfile::TempDir;

fn built_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/potluck-tiny")
}

/// What it prints: on success to stdout, else to stderr.
fn check(data: &TempDir, model: &str, text: &Path, against: &Path) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_potluck-model-check"))
        .arg(model)
        .arg("--text")
        .arg(text)
        .arg("--against")
        .arg(against)
        .arg("--data-dir")
        .arg(data.path())
        .output()
        .unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    if output.status.success() { Ok(stdout) } else { Err(stderr) }
}

#[test]
fn the_built_in_model_is_close_to_its_floats() {
    let data = tempfile::tempdir().unwrap();
    import_folder(&built_in(), data.path()).unwrap();
    let text = data.path().join("text.txt");
    fs::write(
        &text,
        "Long ago, a fox named Elsie lived in the desert. She loved to explore. ".repeat(4),
    )
    .unwrap();
    let report = check(&data, "potluck-tiny", &text, &built_in()).unwrap();
    for named in ["positions", "perplexity", "greedy agreement", "saturated          0 values"] {
        assert!(report.contains(named), "{report}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let data = tempfile::tempdir().unwrap();
    import_folder(&built_in(), data.path()).unwrap();
    let text = Path::new("no-such-text");
    let words = |model: &str| check(&data, model, text, &built_in()).unwrap_err();
    assert!(words("none").contains("no model \"none\""), "{}", words("none"));
    assert!(words("../models/potluck-tiny").contains("no model's name"));
    assert!(words("potluck-tiny").contains("no-such-text"), "{}", words("potluck-tiny"));
}
