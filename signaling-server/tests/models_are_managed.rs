//! `potluck-server model add | list | check | remove`, run as a person runs them.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
#[cfg(unix)]
use std::os::unix::fs::PermissionsExt as _;
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
        self.run(Path::new(env!("CARGO_BIN_EXE_potluck-server")), arguments)
    }

    /// The same of a copy of the program.
    fn run(&self, program: &Path, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(program)
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
    assert!(data.model(&["add", &folder]).unwrap().starts_with("added potluck-tiny as 876f4981"));
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

/// The server under another roof, so that what lies beside it is up to a test.
#[cfg(unix)]
struct Roof {
    folder: TempDir,
    server: PathBuf,
}

#[cfg(unix)]
impl Roof {
    fn new() -> Self {
        let server = PathBuf::from(env!("CARGO_BIN_EXE_potluck-server"));
        let folder = tempfile::tempdir_in(server.parent().unwrap()).unwrap();
        let moved = folder.path().join(server.file_name().unwrap());
        // A hard link: the program is large, and a symbolic one would lead back.
        fs::hard_link(&server, &moved).unwrap();
        Self { folder, server: moved }
    }

    /// Puts a program that compares beside it.
    fn put(&self, script: &str) {
        let checker = self.folder.path().join("potluck-model-check");
        fs::write(&checker, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&checker, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn an_import_ends_with_a_self_test_and_stays_whatever_comes_of_it() {
    let (data, folder) = (Data::new(), built_in().display().to_string());
    let roof = Roof::new();
    let add = |arguments: &[&str]| {
        data.run(&roof.server, &[&["add", &folder][..], arguments].concat()).unwrap()
    };
    let lines = |output: &str| output.lines().map(str::to_owned).collect::<Vec<_>>();

    let missing = lines(&add(&[]));
    assert!(missing[0].starts_with("added potluck-tiny as "), "{missing:?}");
    assert!(missing[1].starts_with("warning: the self-test was not made"), "{missing:?}");
    for named in ["cargo build -p potluck-reference", "potluck-server model check potluck-tiny"] {
        assert!(missing[1].contains(named), "{missing:?}");
    }

    roof.put("printf '%s|' \"$@\"; printf '\\033[2J'");
    let origin = fs::canonicalize(built_in()).unwrap().display().to_string();
    let data_dir = data.0.path().display().to_string();
    let asked = format!("small|--if-quick|--against|{origin}|--data-dir|{data_dir}|[2J");
    let made = lines(&add(&["--name", "small"]));
    assert!(made[0].starts_with("added small as "), "{made:?}");
    assert_eq!(made[1..], [asked]);
    assert_eq!(add(&["--name", "small", "--no-self-test"]).lines().count(), 1);

    // As by a machine that has no memory left.
    roof.put("kill -9 $$");
    let killed = lines(&add(&["--name", "large"]));
    assert!(killed[0].starts_with("added large as ") && killed[1].contains("signal"), "{killed:?}");
    assert_eq!((data.files("models"), data.files("origins")), (3, 3));
}

#[cfg(unix)]
#[test]
fn a_check_asks_the_program_beside_this_one() {
    let (data, folder) = (Data::new(), built_in().display().to_string());
    data.model(&["add", &folder, "--no-self-test"]).unwrap();
    let text = data.0.path().join("text.txt").display().to_string();
    let roof = Roof::new();
    let check = |arguments: &[&str]| data.run(&roof.server, &[&["check"][..], arguments].concat());

    let missing = check(&["potluck-tiny", "--text", &text]).unwrap_err();
    assert!(missing.contains("cargo build -p potluck-reference"), "{missing}");
    assert!(check(&["none", "--text", &text]).unwrap_err().contains("no model \"none\""));

    roof.put("printf '%s|' \"$@\"");
    let origin = fs::canonicalize(built_in()).unwrap().display().to_string();
    let expected = format!(
        "potluck-tiny|--text|{text}|--against|{origin}|--data-dir|{}|\n",
        data.0.path().display()
    );
    assert_eq!(check(&["potluck-tiny", "--text", &text]).unwrap(), expected);
    assert_eq!(check(&["potluck-tiny", "--text", &text, "--against", &folder]).unwrap(), expected);

    let without = expected.replace(&format!("--text|{text}|"), "");
    assert_eq!(check(&["potluck-tiny"]).unwrap(), without);

    roof.put("exit 3");
    assert!(check(&["potluck-tiny", "--text", &text]).unwrap_err().contains("failed"));
    fs::write(data.0.path().join("origins/potluck-tiny"), "/no/such/folder").unwrap();
    assert!(check(&["potluck-tiny", "--text", &text]).unwrap_err().contains("--against"));
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
