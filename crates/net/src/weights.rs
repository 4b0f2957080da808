//! Blobs by their hash: from the cache if there is a good copy, else from the server, verified
//! before anyone sees a byte of them.
//!
//! ```text
//! fetch(hash) ─→ cache: copy? ── BLAKE3 right ─────────────────────────────→ bytes
//!                  │      └─ wrong: deleted ─┐
//!                  └─ none ──────────────────┴→ GET {server}/api/v1/blobs/{hash} ─→ BLAKE3 right ─→ cache ─→ bytes
//!                                                   │        ↑                          └─ wrong: an error, nothing kept
//!                                                   └ breaks ┘ Range: bytes={what is here}-
//! ```
//! Where copies are kept and how bytes come over HTTP is the platform's. This does not decide which
//! blobs are wanted or parse them.

mod download;

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use data_encoding::HEXLOWER;

use self::download::{Download, Size};
use crate::platform::BlobCache;

/// Bytes of a blob at most. A browser's 32-bit WebAssembly has 4 GiB in all, and parts of models
/// are cut far smaller.
pub const MAX_BLOB_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Bytes of a note at most: a line or two.
const MAX_NOTE_BYTES: u64 = 4096;

/// How a download is carried through a bad network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Breaks in a row, without a byte between them, after which a download is given up.
    pub breaks: u32,
    /// The wait after the first break; it doubles with each further one.
    pub first_wait: Duration,
    /// Without a byte for this long, the connection counts as broken.
    pub stall: Duration,
}

impl Default for Patience {
    /// Six breaks are about 16 s of waiting: a server that restarts is back by then.
    fn default() -> Self {
        Self { breaks: 6, first_wait: Duration::from_millis(250), stall: Duration::from_secs(30) }
    }
}

/// A request failed before or during its answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be one.
    #[error("bad address: {0}")]
    Address(String),
    /// There was no connection, or it broke.
    #[error("{0}")]
    Connection(String),
}

/// A blob or text could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The connection could not be made or broke too often.
    #[error("could not fetch {url}: {reason}")]
    Connection {
        /// What was asked for.
        url: String,
        /// What happened last.
        reason: String,
    },
    /// The server answered with an error.
    #[error("could not fetch {url}: the server answered {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status code.
        status: u16,
    },
    /// It is longer than it may be.
    #[error("{url} is longer than {limit} bytes")]
    TooLong {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// It is not as long as it should be.
    #[error("{url} has {got} bytes, expected {expected}")]
    WrongSize {
        /// What was asked for.
        url: String,
        /// The size it should have.
        expected: u64,
        /// The size it has.
        got: u64,
    },
    /// What came is not what was asked for.
    #[error("{url} does not match its hash")]
    WrongHash {
        /// What was asked for.
        url: String,
    },
    /// It is text, and not UTF-8.
    #[error("{url} is not text")]
    NotText {
        /// What was asked for.
        url: String,
    },
    /// This machine has no memory for it.
    #[error("no memory for {size_bytes} bytes")]
    NoMemory {
        /// Its size.
        size_bytes: u64,
    },
}

/// Fetches blobs and keeps copies.
#[derive(Debug)]
pub struct WeightStore {
    cache: BlobCache,
    patience: Patience,
    /// Bytes that came over the network since somebody last asked.
    fetched_bytes: AtomicU64,
}

impl WeightStore {
    /// A store that keeps its copies in `cache`.
    #[must_use]
    pub fn new(cache: BlobCache) -> Self {
        Self { cache, patience: Patience::default(), fetched_bytes: AtomicU64::new(0) }
    }

    /// The same with another patience.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// The blob with this BLAKE3 hash and exactly this size. `progress` is told how many bytes are
    /// here, from 0 to `size_bytes`.
    ///
    /// `base_url` is the server's address without a path. A copy that cannot be kept is only
    /// logged: the bytes are good.
    ///
    /// # Errors
    /// If the server cannot be reached, does not have the blob, or sends other bytes. Nothing wrong
    /// is ever kept or returned.
    pub async fn fetch(
        &self,
        base_url: &str,
        hash: &[u8; 32],
        size_bytes: u64,
        progress: impl FnMut(u64),
    ) -> Result<Vec<u8>, FetchError> {
        self.fetch_sized(base_url, hash, Size::Exactly(size_bytes), progress).await
    }

    /// The copy of this blob that is here already, if it is a good one. Nothing is downloaded.
    pub async fn copy(&self, hash: &[u8; 32], size_bytes: u64) -> Option<Vec<u8>> {
        self.copy_sized(hash, Size::Exactly(size_bytes)).await
    }

    /// Bytes that were downloaded since this was last asked, whatever became of them and whoever
    /// wanted them: each is told once.
    #[must_use]
    pub fn take_fetched_bytes(&self) -> u64 {
        self.fetched_bytes.swap(0, Ordering::Relaxed)
    }

    /// The same for a blob whose size is not known, such as a manifest: at most `max_bytes`.
    ///
    /// # Errors
    /// As [`WeightStore::fetch`].
    pub async fn fetch_verified(
        &self,
        base_url: &str,
        hash: &[u8; 32],
        max_bytes: u64,
    ) -> Result<Vec<u8>, FetchError> {
        self.fetch_sized(base_url, hash, Size::AtMost(max_bytes), |_| {}).await
    }

    /// What [`WeightStore::keep_note`] kept under this name, if it is still there. Not verified.
    pub async fn note(&self, name: &str) -> Option<String> {
        String::from_utf8(self.cache.read(name, MAX_NOTE_BYTES).await?).ok()
    }

    /// Keeps a short text of this machine's beside the blobs, under a name that is no blob's;
    /// losing it must harm nobody.
    pub async fn keep_note(&self, name: &str, text: &str) {
        if let Err(error) = self.cache.write(name, text.as_bytes()).await {
            tracing::warn!(note = name, error, "could not keep a note");
        }
    }

    async fn copy_sized(&self, hash: &[u8; 32], size: Size) -> Option<Vec<u8>> {
        let name = HEXLOWER.encode(hash);
        let bytes = self.cache.read(&name, size.limit()).await?;
        if size.fits(bytes.len() as u64) && blake3::hash(&bytes) == *hash {
            return Some(bytes);
        }
        tracing::warn!(blob = name, "a copy does not match its hash and is of no use");
        self.cache.remove(&name).await;
        None
    }

    async fn fetch_sized(
        &self,
        base_url: &str,
        hash: &[u8; 32],
        size: Size,
        mut progress: impl FnMut(u64),
    ) -> Result<Vec<u8>, FetchError> {
        let name = HEXLOWER.encode(hash);
        let url = address(base_url, &format!("/api/v1/blobs/{name}"));
        if size.limit() > MAX_BLOB_BYTES {
            return Err(FetchError::TooLong { url, limit: MAX_BLOB_BYTES });
        }
        if let Some(bytes) = self.copy_sized(hash, size).await {
            progress(bytes.len() as u64);
            return Ok(bytes);
        }
        let mut download = Download::new(url, size, self.patience);
        let mut before = 0;
        let mut count = |bytes: u64| {
            // Less than before where a download begins anew.
            self.fetched_bytes.fetch_add(bytes.saturating_sub(before), Ordering::Relaxed);
            before = bytes;
            progress(bytes);
        };
        download.run(&mut count).await?;
        let Download { url, bytes, hasher, .. } = download;
        if hasher.finalize() != *hash {
            return Err(FetchError::WrongHash { url });
        }
        if let Err(error) = self.cache.write(&name, &bytes).await {
            tracing::warn!(blob = name, error, "could not keep a copy");
        }
        Ok(bytes)
    }
}

/// What the server has at `path` (`/api/v1/…`), at most `limit` bytes. Not verified: for what says
/// nothing that matters.
///
/// # Errors
/// If the server cannot be reached, answers with an error, or the answer is longer.
pub async fn fetch_bytes(base_url: &str, path: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
    let mut download =
        Download::new(address(base_url, path), Size::AtMost(limit), Patience::default());
    download.run(&mut |_| {}).await?;
    Ok(download.bytes)
}

/// The same as text.
///
/// # Errors
/// As [`fetch_bytes`], and if it is not UTF-8.
pub async fn fetch_text(base_url: &str, path: &str, limit: u64) -> Result<String, FetchError> {
    let bytes = fetch_bytes(base_url, path, limit).await?;
    String::from_utf8(bytes).map_err(|_| FetchError::NotText { url: address(base_url, path) })
}

fn address(base_url: &str, path: &str) -> String {
    format!("{}{path}", base_url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_slash() {
        assert_eq!(address("http://a:1/", "/api"), "http://a:1/api");
        assert_eq!(address("http://a:1", "/api"), "http://a:1/api");
    }
}
