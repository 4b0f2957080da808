//! `potluck-server model add | list | check | remove`, run as a person runs them.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

fn built_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/potluck-tiny")
}

/// A data folder.
struct Data(TempDir);

impl Data {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// What `potluck-server model ...` prints: on success to stdout, else to stderr.
    fn model(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_potluck-server"));
        let output = command
            .arg("model")
            .args(arguments)
            .arg("--data-dir")
            .arg(self.0.path())
            .output()
            .unwrap();
        let [stdout, stderr] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        if output.status.success() { Ok(stdout) } else { Err(stderr) }
    }

    fn files(&self, folder: &str) -> usize {
        fs::read_dir(self.0.path().join(folder)).map_or(0, Iterator::count)
    }
}

#[test]
fn models_come_are_listed_and_go() {
    let (data, folder) = (Data::new(), built_in().display().to_string());
    assert!(data.model(&["list"]).unwrap().contains("no models"));
    assert!(data.model(&["add", &folder]).unwrap().starts_with("added potluck-tiny as 9e8168b5"));
    let blobs = data.files("blobs");
    data.model(&["add", &folder, "--weights", "q4", "--context", "256", "--name", "small"])
        .unwrap();
    let list = data.model(&["list"]).unwrap();
    let line = |name: &str| {
        list.lines()
            .find(|line| line.starts_with(name))
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
    };
    assert_eq!(line("potluck-tiny")[..6], ["potluck-tiny", "llama", "6", "8", "bit", "512"]);
    assert_eq!(line("small")[..6], ["small", "llama", "6", "4", "bit", "256"]);
    // Embedding and tokenizer are shared, so removing one model leaves the other whole.
    assert_eq!(data.model(&["remove", "small"]).unwrap(), "removed small\n");
    assert_eq!((data.files("blobs"), data.files("models"), data.files("origins")), (blobs, 1, 1));
    assert!(data.model(&["remove", "small"]).unwrap_err().contains("installed: potluck-tiny"));
    data.model(&["remove", "potluck-tiny"]).unwrap();
    assert_eq!((data.files("blobs"), data.files("models"), data.files("origins")), (0, 0, 0));
}

#[test]
fn a_check_compares_with_what_the_model_was_made_from() {
    let (data, folder) = (Data::new(), built_in().display().to_string());
    data.model(&["add", &folder]).unwrap();
    let text = data.0.path().join("text.txt");
    fs::write(
        &text,
        "Long ago, a fox named Elsie lived in the desert. She loved to explore. ".repeat(4),
    )
    .unwrap();
    let text = text.display().to_string();
    let report = data.model(&["check", "potluck-tiny", "--text", &text]).unwrap();
    for named in ["positions", "perplexity", "greedy agreement", "saturated          0 values"] {
        assert!(report.contains(named), "{report}");
    }
    assert_eq!(
        data.model(&["check", "potluck-tiny", "--text", &text, "--against", &folder]).unwrap(),
        report
    );
    assert!(
        data.model(&["check", "none", "--text", &text]).unwrap_err().contains("no model \"none\"")
    );
    assert!(
        data.model(&["check", "potluck-tiny", "--text", "no-such-text"])
            .unwrap_err()
            .contains("no-such-text")
    );
    fs::write(data.0.path().join("origins/potluck-tiny"), "/no/such/folder").unwrap();
    assert!(
        data.model(&["check", "potluck-tiny", "--text", &text]).unwrap_err().contains("--against")
    );
}

#[test]
fn what_cannot_be_added_is_explained_and_leaves_nothing() {
    let data = Data::new();
    let broken = data.0.path().join("broken.gguf");
    fs::write(&broken, b"GGUF and nothing else").unwrap();
    for (source, named) in [
        ("no-such-folder", "hf:owner/name"),
        ("hf:owner", "hf:owner/name@revision"),
        (broken.to_str().unwrap(), "could not import"),
    ] {
        let words = data.model(&["add", source]).unwrap_err();
        assert!(words.contains(named), "{words}");
    }
    assert_eq!((data.files("models"), data.files("blobs"), data.files("origins")), (0, 0, 0));
}
