//! `potluck-model-check`, run as `potluck-server model check` runs it: on a model imported into a
//! data folder, against the folder that it came from.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use potluck_importer::import_folder;
use potluck_reference::self_test::self_test;
use tempfile::TempDir;

fn built_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/potluck-tiny")
}

/// What it prints: on success to stdout, else to stderr.
fn check(data: &TempDir, model: &str, text: &Path, against: &Path) -> Result<String, String> {
    run(data, &[model.as_ref(), "--text".as_ref(), text.as_os_str()], against)
}

fn run(data: &TempDir, arguments: &[&OsStr], against: &Path) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_potluck-model-check"))
        .args(arguments)
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

/// A copy of the built-in model's folder.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(built_in().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn a_good_import_passes_its_self_test() {
    let data = tempfile::tempdir().unwrap();
    import_folder(&built_in(), data.path()).unwrap();
    let report =
        run(&data, &["potluck-tiny".as_ref(), "--if-quick".as_ref()], &built_in()).unwrap();
    println!("{report}");
    assert!(report.starts_with("self-test: ") && report.contains("perplexity"), "{report}");
    assert_eq!(report.lines().count(), 1, "{report}");
}

#[test]
fn an_import_that_differs_from_its_source_is_told_from_a_good_one() {
    let data = tempfile::tempdir().unwrap();
    import_folder(&built_in(), data.path()).unwrap();
    let warns = |against: &TempDir| {
        let report = self_test("potluck-tiny", against.path(), data.path(), None).unwrap();
        println!("{report}");
        report.contains("warning: potluck-tiny differs")
    };
    let same = copy();
    assert!(!warns(&same));

    let turned = copy();
    let config = fs::read_to_string(built_in().join("config.json")).unwrap();
    let altered = config.replace("\"rope_theta\": 10000.0", "\"rope_theta\": 1000.0");
    assert_ne!(altered, config);
    fs::write(turned.path().join("config.json"), altered).unwrap();
    assert!(warns(&turned), "a rotation");

    // Twice one gain of one norm: a bfloat16's exponent, one more.
    let scaled = copy();
    let path = scaled.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = 8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let tensors: serde_json::Value = serde_json::from_slice(&bytes[8..header]).unwrap();
    let norm = &tensors["model.layers.2.post_attention_layernorm.weight"];
    assert_eq!(norm["dtype"], "BF16");
    let place =
        |at: usize| header + usize::try_from(norm["data_offsets"][at].as_u64().unwrap()).unwrap();
    for gain in bytes[place(0)..place(1)].chunks_exact_mut(2) {
        let doubled = u16::from_le_bytes([gain[0], gain[1]]) + 0x80;
        gain.copy_from_slice(&doubled.to_le_bytes());
    }
    fs::write(&path, bytes).unwrap();
    assert!(warns(&scaled), "a norm");
}

#[test]
fn a_self_test_that_would_take_long_is_left_out_and_says_how_to_make_it() {
    let data = tempfile::tempdir().unwrap();
    import_folder(&built_in(), data.path()).unwrap();
    // The source is not there: it is not even opened.
    let none = Path::new("no-such-folder");
    let report = self_test("potluck-tiny", none, data.path(), Some(1_000_000)).unwrap();
    assert!(report.starts_with("self-test: left out"), "{report}");
    assert!(report.contains("potluck-server model check potluck-tiny --data-dir"), "{report}");
    assert!(self_test("potluck-tiny", none, data.path(), None).is_err());
}
