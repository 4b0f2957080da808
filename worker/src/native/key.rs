//! `potluck-node key`: the key as a file, and another one in its place.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use potluck_protocol::identity::Identity;
use potluck_protocol::key_file::{KeyFile, MAX_KEY_FILE_BYTES};

use super::arguments::{KeyOptions, KeyTask};
use super::home::{self, KeyInUse};
use super::terminal::say;

/// What a program returns that was asked for something it does not do without a yes.
const NOT_AGREED: u8 = 2;

pub(super) async fn key(options: KeyOptions) -> anyhow::Result<ExitCode> {
    let folder = home::folder(options.home)?;
    match options.task {
        KeyTask::Backup { file } => {
            let backup = KeyFile::new(&home::secret(&folder).await?, "");
            write(&file, &backup.text())?;
            say(&format!("the key of {} is in {}", about(&backup), file.display()));
            say("Whoever has this file is you. Keep it where only you can read it.");
            Ok(ExitCode::SUCCESS)
        }
        KeyTask::Restore { file, yes } => {
            let text = read(&file).with_context(|| {
                format!("{} could not be read; nothing was changed", file.display())
            })?;
            let (backup, secret) =
                KeyFile::read(&text).with_context(|| file.display().to_string())?;
            replace(&folder, &secret, &about(&backup), yes).await
        }
        KeyTask::Reset { yes } => {
            let mut secret = [0; 32];
            getrandom::fill(&mut secret).context("this system has no randomness")?;
            replace(&folder, &secret, "a new key", yes).await
        }
    }
}

/// Puts another secret in the place of the present one, if the person agrees to what that costs.
async fn replace(
    folder: &Path,
    secret: &[u8; 32],
    other: &str,
    yes: bool,
) -> anyhow::Result<ExitCode> {
    let _nobody = KeyInUse::by_none(folder)?;
    let present = KeyFile::new(&home::secret(folder).await?, "");
    if Identity::from_seed(secret).node() == present.node() {
        say(&format!("{} is this machine's key already; nothing was changed", about(&present)));
        return Ok(ExitCode::SUCCESS);
    }
    if !yes {
        say(&format!("This machine's key is {}.", about(&present)));
        say(&format!(
            "In its place it would have {other}. What was credited to the present key, its name, its team \
             and what you agreed to by it stay with that key, and without a backup nobody ever has it again."
        ));
        say(
            "Nothing was changed. Keep the present key first with `potluck-node key backup FILE`; then run \
             the same command with --yes.",
        );
        return Ok(ExitCode::from(NOT_AGREED));
    }
    home::replace_secret(folder, secret).await?;
    let now = KeyFile::new(secret, "");
    say(&format!("this machine's key is {} now; it was {}", about(&now), about(&present)));
    say("What you agreed to was agreed to by the key before: `potluck-node join` asks anew.");
    Ok(ExitCode::SUCCESS)
}

fn about(file: &KeyFile) -> String {
    format!("{} ({})", file.node().name(), file.node())
}

/// A new file that only its owner can read.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} is there already and was not written over; name another file", path.display())
        }
        opened => opened.with_context(|| format!("{} could not be written", path.display()))?,
    };
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.with_context(|| format!("{} is not whole; remove it, and try again", path.display()))
}

/// A file's text, if it is not too long to be a backup.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let most = u64::try_from(MAX_KEY_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(most).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    async fn run(home: &Path, task: KeyTask) -> anyhow::Result<ExitCode> {
        key(KeyOptions { task, home: Some(home.to_owned()) }).await
    }

    async fn secret(home: &Path) -> [u8; 32] {
        home::secret(home).await.expect("a key")
    }

    fn code(code: ExitCode) -> String {
        format!("{code:?}")
    }

    #[tokio::test]
    async fn a_key_is_kept_reset_and_had_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (home, file) = (folder.path().join("home"), folder.path().join("backup.json"));
        let first = secret(&home).await;
        run(&home, KeyTask::Backup { file: file.clone() }).await.expect("written");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&file).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let error = run(&home, KeyTask::Backup { file: file.clone() }).await.expect_err("there");
        assert!(error.to_string().contains("not written over"), "{error}");

        let asked = run(&home, KeyTask::Reset { yes: false }).await.expect("it only asks");
        assert_eq!(code(asked), code(ExitCode::from(NOT_AGREED)));
        assert_eq!(secret(&home).await, first);
        run(&home, KeyTask::Reset { yes: true }).await.expect("replaced");
        let second = secret(&home).await;
        assert_ne!(second, first);

        let restore = |yes| KeyTask::Restore { file: file.clone(), yes };
        run(&home, restore(false)).await.expect("it only asks");
        assert_eq!(secret(&home).await, second);
        run(&home, restore(true)).await.expect("replaced");
        assert_eq!(secret(&home).await, first);
    }

    #[tokio::test]
    async fn a_bad_file_or_a_node_that_runs_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (home, file) = (folder.path().join("home"), folder.path().join("backup.json"));
        let first = secret(&home).await;
        for (text, said) in [("{}", "no backup"), (&"x".repeat(10_000), "no backup")] {
            std::fs::write(&file, text).expect("written");
            let error = run(&home, KeyTask::Restore { file: file.clone(), yes: true }).await;
            let error = format!("{:#}", error.expect_err("refused"));
            assert!(error.contains(said) && error.contains("nothing was changed"), "{error}");
        }
        let missing = KeyTask::Restore { file: PathBuf::from("/nowhere/at/all"), yes: true };
        assert!(run(&home, missing).await.is_err());

        let node = home::open(Some(home.clone())).await.expect("it runs");
        let error = run(&home, KeyTask::Reset { yes: true }).await.expect_err("in use");
        assert!(error.to_string().contains("Stop it"), "{error}");
        let another = home::open(Some(home.clone())).await.expect("nodes share it");
        drop((node, another));
        assert_eq!(secret(&home).await, first);
        run(&home, KeyTask::Reset { yes: true }).await.expect("nobody uses it now");
    }
}
