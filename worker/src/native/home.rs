//! Where a native node keeps its key, its copies of weights, and the grants of its volunteer.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use potluck_net::platform;
use potluck_net::weights::WeightStore;
use potluck_protocol::identity::Identity;

/// The node's key, in its folder.
const KEY_FILE: &str = "node.key";

/// The folder given, or `potluck` in the user's data folder.
pub(super) fn folder(home: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(home) = home {
        return Ok(home);
    }
    let from =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("XDG_DATA_HOME")
        .or_else(|| from("LOCALAPPDATA"))
        .or_else(|| from("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("potluck"))
        .context("there is no home folder; say where to keep this node's key with --home")
}

/// Opens (or makes) the node's key and its weight store.
pub(super) async fn open(
    home: Option<PathBuf>,
) -> anyhow::Result<(Identity, WeightStore, KeyInUse)> {
    let folder = folder(home)?;
    let in_use = KeyInUse::by_a_node(&folder)?;
    let identity = Identity::from_seed(&secret(&folder).await?);
    let store = WeightStore::new(platform::BlobCache::new(folder.join("blobs")));
    Ok((identity, store, in_use))
}

/// While it lives, the key stays the one that it is: any number of nodes use it, or one command
/// changes it.
#[derive(Debug)]
pub(super) struct KeyInUse {
    _locked: File,
}

/// Is locked by whoever uses the key.
const LOCK_FILE: &str = "node.lock";

impl KeyInUse {
    fn by_a_node(folder: &Path) -> anyhow::Result<Self> {
        let file = Self::file(folder)?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {
                bail!("this node's key is being changed just now; try again")
            }
            // Where files cannot be locked, nobody knows, as before.
            Err(TryLockError::Error(_)) | Ok(()) => Ok(Self { _locked: file }),
        }
    }

    /// For who changes it.
    ///
    /// # Errors
    /// If a node uses it.
    pub(super) fn by_none(folder: &Path) -> anyhow::Result<Self> {
        let file = Self::file(folder)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => bail!(
                "a node uses this key just now; nothing was changed. Stop it (Ctrl-C), then try again"
            ),
            Err(TryLockError::Error(_)) | Ok(()) => Ok(Self { _locked: file }),
        }
    }

    fn file(folder: &Path) -> anyhow::Result<File> {
        std::fs::create_dir_all(folder)
            .and_then(|()| File::create(folder.join(LOCK_FILE)))
            .with_context(|| format!("{} cannot be written", folder.join(LOCK_FILE).display()))
    }
}

/// The node's secret, made if there is none.
pub(super) async fn secret(folder: &Path) -> anyhow::Result<[u8; 32]> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh).context("this system has no randomness")?;
    // Only a key that is not there is made: the credit that this machine has is on the one it had.
    let secret =
        platform::load_or_create_secret(folder, KEY_FILE, || fresh).await.with_context(|| {
            format!(
                "this node's key {} could not be used; nothing was changed. Put the right file back \
                 and see that it can be read, or say with --home where another is",
                folder.join(KEY_FILE).display()
            )
        })?;
    Ok(secret)
}

/// Keeps another secret in the place of the one before.
pub(super) async fn replace_secret(folder: &Path, secret: &[u8; 32]) -> anyhow::Result<()> {
    Ok(platform::replace_secret(folder, KEY_FILE, secret).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_that_cannot_be_used_is_told_and_kept() {
        let home = tempfile::tempdir().expect("a folder");
        let key = home.path().join(KEY_FILE);
        std::fs::write(&key, b"short").expect("written");
        let said = match open(Some(home.path().to_owned())).await {
            Ok(_) => panic!("it took another key"),
            Err(error) => format!("{error:#}"),
        };
        for part in [&*key.to_string_lossy(), "nothing was changed", "32 bytes"] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(std::fs::read(&key).expect("still there"), b"short");
        // One that is there and cannot be read is as little a reason for another.
        std::fs::remove_file(&key).expect("removed");
        std::fs::create_dir(&key).expect("a folder in its place");
        assert!(open(Some(home.path().to_owned())).await.is_err());
        assert!(key.is_dir());
        std::fs::remove_dir(&key).expect("removed");
        let (first, ..) = open(Some(home.path().to_owned())).await.expect("made");
        let (second, ..) = open(Some(home.path().to_owned())).await.expect("found");
        assert_eq!(first.node(), second.node());
    }
}
