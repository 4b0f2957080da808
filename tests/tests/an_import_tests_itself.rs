//! `potluck-server model add` ends with a line on how the model compares with what it was made from,
//! by the program that lies beside it; and it can be asked for again.

use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use e2e::process::Folder;
use e2e::programs::{model, native};

/// What `potluck-server model` prints.
fn run(arguments: &[&str], folder: &Path) -> anyhow::Result<String> {
    let output = Command::new(native("potluck-server")?)
        .arg("model")
        .args(arguments)
        .arg("--data-dir")
        .arg(folder)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn an_import_tests_itself() -> anyhow::Result<()> {
    native("potluck-model-check")?;
    let (data, source) = (Folder::new()?, model().display().to_string());
    let said = run(&["add", &source], data.path())?;
    let [added, tested] = said.lines().collect::<Vec<_>>()[..] else {
        anyhow::bail!("more or less than two lines: {said}");
    };
    assert!(added.starts_with("added potluck-tiny as "), "{said}");
    assert!(tested.starts_with("self-test: ") && tested.contains(" tokens, perplexity "), "{said}");
    assert_eq!(run(&["check", "potluck-tiny"], data.path())?, format!("{tested}\n"));
    Ok(())
}
