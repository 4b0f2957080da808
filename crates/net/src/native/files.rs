//! Copies of blobs in a folder.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::fs;
use tokio::io::AsyncWriteExt as _;

/// Copies of blobs in a folder, one file each, named by their hash.
///
/// It holds at most a given number of bytes; when it would hold more, what was not used for longest
/// goes. Where the disk is full before that, the same; and if that does not help, no copies are kept
/// for as long as this process lives. No other failure costs a copy. Nothing here is trusted:
/// [`WeightStore`](crate::weights::WeightStore) verifies what it reads.
#[derive(Clone, Debug)]
pub struct BlobCache {
    folder: PathBuf,
    max_bytes: u64,
    /// The disk is full, and making room did not help.
    is_full: Arc<AtomicBool>,
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
        Self { folder: folder.into(), max_bytes: DEFAULT_MAX_BYTES, is_full: Arc::default() }
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
        self.write_with(name, bytes, async |path| write_and_rename(path, bytes).await).await
    }

    /// The same, with what writes the file given.
    async fn write_with(
        &self,
        name: &str,
        bytes: &[u8],
        mut write: impl AsyncFnMut(&Path) -> io::Result<()>,
    ) -> Result<(), String> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err("the disk was full".to_owned());
        }
        let path = self.folder.join(name);
        let say = |error: io::Error| format!("{}: {error}", path.display());
        fs::create_dir_all(&self.folder).await.map_err(say)?;
        self.make_room(bytes.len() as u64, self.max_bytes).await.map_err(say)?;
        match write(&path).await {
            Err(error) if is_out_of_space(&error) => {}
            written => return written.map_err(say),
        }
        let held = self.held().await.map_err(say)?;
        let total: u64 = held.iter().map(|(_, length, _)| length).sum();
        self.make_room(bytes.len() as u64, total).await.map_err(say)?;
        let written = write(&path).await;
        if written.as_ref().is_err_and(is_out_of_space) {
            self.is_full.store(true, Ordering::Relaxed);
        }
        written.map_err(say)
    }

    /// Deletes a copy.
    pub(crate) async fn remove(&self, name: &str) {
        // Gone already is as good.
        let _ = fs::remove_file(self.folder.join(name)).await;
    }

    /// What is there: when it was last used, its length, and where it is.
    async fn held(&self) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
        let mut held = Vec::new();
        let mut entries = fs::read_dir(&self.folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            // Another process may delete at the same time.
            if let Ok(metadata) = entry.metadata().await {
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                held.push((used, metadata.len(), entry.path()));
            }
        }
        Ok(held)
    }

    /// Deletes what was not used for longest, until `bytes` more are no more than `max_bytes`.
    async fn make_room(&self, bytes: u64, max_bytes: u64) -> io::Result<()> {
        let mut held = self.held().await?;
        let mut total: u64 = held.iter().map(|(_, length, _)| length).sum();
        held.sort();
        for (_, length, path) in held {
            if total + bytes <= max_bytes {
                break;
            }
            tracing::info!(path = %path.display(), "making room in the cache");
            let _ = fs::remove_file(path).await;
            total -= length;
        }
        Ok(())
    }
}

/// The disk, or this user's share of it.
fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

async fn write_and_rename(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = write_aside(path, bytes, false).await?;
    let renamed = fs::rename(&aside, path).await;
    if renamed.is_err() {
        let _ = fs::remove_file(&aside).await;
    }
    renamed
}

/// Writes a file beside `path`, down to the disk, and says where. A `secret` one can be read by its
/// owner only.
pub(super) async fn write_aside(path: &Path, bytes: &[u8], secret: bool) -> io::Result<PathBuf> {
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
        file.sync_all().await
    };
    let result = written.await;
    if result.is_err() {
        let _ = fs::remove_file(&aside).await;
    }
    result.map(|()| aside)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// A cache with three copies, `a` the oldest, of ten bytes each.
    async fn filled(folder: &Path) -> BlobCache {
        let cache = BlobCache::new(folder);
        for (name, age) in [("a", 30), ("b", 20), ("c", 10)] {
            cache.write(name, &[1; 10]).await.unwrap();
            let file = std::fs::File::open(folder.join(name)).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        }
        cache
    }

    async fn kept(cache: &BlobCache) -> String {
        let mut kept = String::new();
        for name in ["a", "b", "c", "new"] {
            if cache.read(name, 99).await.is_some() {
                kept.push_str(name);
            }
        }
        kept
    }

    #[tokio::test]
    async fn a_full_disk_costs_as_many_old_copies_as_are_needed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = filled(folder.path()).await;
        let mut tries = 0;
        let written = cache.write_with("new", &[2; 15], async |path| {
            tries += 1;
            if tries == 1 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            write_and_rename(path, &[2; 15]).await
        });
        written.await.unwrap();
        assert_eq!(kept(&cache).await, "cnew");
    }

    #[tokio::test]
    async fn a_disk_that_stays_full_is_not_tried_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = filled(folder.path()).await;
        let mut tries = 0;
        for _ in 0..5 {
            let full = cache.write_with("new", &[2; 5], async |_| {
                tries += 1;
                Err(io::ErrorKind::StorageFull.into())
            });
            full.await.unwrap_err();
        }
        assert_eq!(tries, 2);
        assert_eq!(kept(&cache).await, "bc", "one made room, the others stay");
    }

    #[tokio::test]
    async fn no_other_failure_costs_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let cache = filled(folder.path()).await;
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::Other] {
            let failed = cache.write_with("new", &[2; 5], async |_| Err(kind.into())).await;
            failed.unwrap_err();
        }
        assert_eq!(kept(&cache).await, "abc");
        cache.write("new", &[2; 5]).await.unwrap();
    }
}
