//! Blobs and secrets in folders.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::fs;
use tokio::io::AsyncWriteExt as _;

/// Copies of blobs in a folder, one file each, named by their hash.
///
/// It holds at most a given number of bytes; when it would hold more, what was not used for longest
/// goes. Nothing here is trusted: [`WeightStore`](crate::weights::WeightStore) verifies what it
/// reads.
#[derive(Clone, Debug)]
pub struct BlobCache {
    folder: PathBuf,
    max_bytes: u64,
}

/// Bytes of a cache unless said otherwise: a few middle-sized models, and no more than people leave
/// free on a disk.
const DEFAULT_MAX_BYTES: u64 = 20 * 1024 * 1024 * 1024;

/// Makes names of half-written files different within a process; the process id does it between
/// processes.
static NEXT_PART: AtomicU64 = AtomicU64::new(0);

impl BlobCache {
    /// A cache in `folder`, which is made when it is first needed.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), max_bytes: DEFAULT_MAX_BYTES }
    }

    /// The same with another limit, in bytes.
    #[must_use]
    pub fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// A cache in the user's cache folder: `$XDG_CACHE_HOME/potluck/blobs`,
    /// `%LOCALAPPDATA%\potluck\blobs` or `~/.cache/potluck/blobs`.
    ///
    /// `None` if there is no such folder.
    #[must_use]
    pub fn of_user() -> Option<Self> {
        let from = |name: &str| {
            std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        let base = from("XDG_CACHE_HOME")
            .or_else(|| from("LOCALAPPDATA"))
            .or_else(|| from("HOME").map(|home| home.join(".cache")))?;
        Some(Self::new(base.join("potluck").join("blobs")))
    }

    /// The blob's bytes, if there is a copy of at most `max_bytes`.
    pub(crate) async fn read(&self, name: &str, max_bytes: u64) -> Option<Vec<u8>> {
        let path = self.folder.join(name);
        let length = fs::metadata(&path).await.ok()?.len();
        if length > max_bytes {
            return None;
        }
        let bytes = fs::read(&path).await.ok()?;
        // The time of last use, for `make_room`; a folder that cannot be written to is no worse for
        // it.
        if let Ok(file) = std::fs::File::open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
        Some(bytes)
    }

    /// Keeps a copy. Written aside and renamed, so that there is never half a blob under its name.
    pub(crate) async fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let path = self.folder.join(name);
        let say = |error: io::Error| format!("{}: {error}", path.display());
        fs::create_dir_all(&self.folder).await.map_err(say)?;
        self.make_room(bytes.len() as u64).await.map_err(say)?;
        write_and_rename(&path, bytes, false).await.map_err(say)
    }

    /// Deletes a copy.
    pub(crate) async fn remove(&self, name: &str) {
        // Gone already is as good.
        let _ = fs::remove_file(self.folder.join(name)).await;
    }

    async fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut held = Vec::new();
        let mut entries = fs::read_dir(&self.folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            // Another process may delete at the same time.
            if let Ok(metadata) = entry.metadata().await {
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                held.push((used, metadata.len(), entry.path()));
            }
        }
        let mut total: u64 = held.iter().map(|(_, length, _)| length).sum();
        held.sort();
        for (_, length, path) in held {
            if total + bytes <= self.max_bytes {
                break;
            }
            tracing::info!(path = %path.display(), "making room in the cache");
            let _ = fs::remove_file(path).await;
            total -= length;
        }
        Ok(())
    }
}

/// The secret `name` in `folder`; made by `make` and kept there if there is none yet. Only its
/// owner can read the file.
///
/// # Errors
/// If the folder cannot be made, read or written, or the file does not hold 32 bytes: an identity
/// is not silently replaced.
pub async fn load_or_create_secret(
    folder: &Path,
    name: &str,
    make: impl FnOnce() -> [u8; 32],
) -> io::Result<[u8; 32]> {
    let path = folder.join(name);
    match fs::read(&path).await {
        Ok(bytes) => {
            let length = bytes.len();
            let wrong = || {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("expected 32 bytes, got {length}"),
                )
            };
            bytes.try_into().map_err(|_| wrong())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder).await?;
            let secret = make();
            write_and_rename(&path, &secret, true).await?;
            Ok(secret)
        }
        Err(error) => Err(error),
    }
}

async fn write_and_rename(path: &Path, bytes: &[u8], secret: bool) -> io::Result<()> {
    let part = format!("part-{}-{}", std::process::id(), NEXT_PART.fetch_add(1, Ordering::Relaxed));
    let aside = path.with_extension(part);
    let written = async {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        if secret {
            #[cfg(unix)]
            options.mode(0o600);
        }
        let mut file = options.open(&aside).await?;
        file.write_all(bytes).await?;
        file.sync_all().await?;
        fs::rename(&aside, path).await
    };
    let result = written.await;
    if result.is_err() {
        let _ = fs::remove_file(&aside).await;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_secret_is_made_once_and_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("deep");
        let made = load_or_create_secret(&home, "node.key", || [7; 32]).await.unwrap();
        let again = load_or_create_secret(&home, "node.key", || unreachable!()).await.unwrap();
        assert_eq!((made, again), ([7; 32], [7; 32]));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(home.join("node.key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn a_damaged_secret_is_an_error_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("node.key"), b"short").unwrap();
        let error = load_or_create_secret(folder.path(), "node.key", || [7; 32]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(std::fs::read(folder.path().join("node.key")).unwrap(), b"short");
    }

    #[tokio::test]
    async fn what_was_not_used_for_longest_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BlobCache::new(folder.path()).with_max_bytes(25);
        let age = |name: &str, seconds| {
            let file = std::fs::File::open(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(seconds)).unwrap();
        };
        cache.write("a", &[1; 10]).await.unwrap();
        age("a", 20);
        cache.write("b", &[2; 10]).await.unwrap();
        age("b", 10);
        assert!(cache.read("a", 10).await.is_some(), "reading counts as use");
        cache.write("c", &[3; 10]).await.unwrap();
        assert!(cache.read("a", 10).await.is_some());
        assert!(cache.read("b", 10).await.is_none());
        assert_eq!(cache.read("c", 10).await.unwrap(), [3; 10]);
        assert!(cache.read("c", 9).await.is_none(), "longer than asked for");
    }
}
