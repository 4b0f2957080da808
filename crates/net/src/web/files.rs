//! Copies of blobs in the origin's private file system (OPFS), or in memory where there is none
//! (private windows, pages without TLS, storage denied).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use wasm_bindgen_futures::JsFuture;
use web_sys::FileSystemDirectoryHandle;

use super::describe;
use super::opfs::{FOLDER, WriteError, names, open_folder, read_file, write_file};

/// The folder of blobs in [`FOLDER`].
const BLOBS: &str = "blobs";
/// Bytes of copies kept in memory where there is no file system. Small parts are fetched once that
/// way; a large one is in use anyway, and twice the memory for it would cost more than fetching it
/// again.
const MAX_MEMORY_BYTES: usize = 64 * 1024 * 1024;

/// Copies of blobs, one file each, named by their hash.
///
/// The browser bounds how much an origin may keep. When it is full, the copies go that this visit
/// has no use for, and writing is tried once more; if that does not help, this visit keeps no
/// further copies, instead of wiping what it wrote a moment before. No other failure costs a copy.
/// Nothing here is trusted: [`WeightStore`](crate::weights::WeightStore) verifies what it reads, so
/// a file that was only half written does no harm.
#[derive(Debug)]
pub struct BlobCache {
    /// `None`: memory.
    folder: Option<FileSystemDirectoryHandle>,
    memory: RefCell<HashMap<String, Vec<u8>>>,
    /// What this visit has read or written.
    used: RefCell<HashSet<String>>,
    /// The browser keeps no more, and making room did not help.
    is_full: Cell<bool>,
}

impl BlobCache {
    /// Opens the cache; in memory if the browser gives us no folder.
    pub async fn open() -> Self {
        let folder = match open_folder(&[FOLDER, BLOBS]).await {
            Ok(folder) => Some(folder),
            Err(thrown) => {
                tracing::info!(
                    reason = describe(&thrown),
                    "no storage here; copies are kept in memory"
                );
                None
            }
        };
        Self {
            folder,
            memory: RefCell::default(),
            used: RefCell::default(),
            is_full: Cell::default(),
        }
    }

    /// True if the next copy outlives this worker, as far as is known.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        self.folder.is_some() && !self.is_full.get()
    }

    /// The blob's bytes, if there is a copy of at most `max_bytes`.
    pub(crate) async fn read(&self, name: &str, max_bytes: u64) -> Option<Vec<u8>> {
        match &self.folder {
            // Not there, or being written by another tab.
            Some(folder) => {
                let bytes = read_file(folder, name, max_bytes).await.ok()?;
                self.used.borrow_mut().insert(name.to_owned());
                Some(bytes)
            }
            None => self
                .memory
                .borrow()
                .get(name)
                .filter(|bytes| bytes.len() as u64 <= max_bytes)
                .cloned(),
        }
    }

    /// Keeps a copy.
    pub(crate) async fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let Some(folder) = &self.folder else {
            let mut memory = self.memory.borrow_mut();
            let held: usize = memory.values().map(Vec::len).sum();
            if held + bytes.len() > MAX_MEMORY_BYTES {
                return Err(format!("{held} bytes in memory already"));
            }
            memory.insert(name.to_owned(), bytes.to_vec());
            return Ok(());
        };
        if self.is_full.get() {
            return Err("the browser keeps no more for this page".to_owned());
        }
        self.used.borrow_mut().insert(name.to_owned());
        let mut written = write_file(folder, name, bytes).await;
        if matches!(written, Err(WriteError::Full(_))) {
            self.make_room().await;
            written = write_file(folder, name, bytes).await;
        }
        match written {
            Ok(()) => Ok(()),
            Err(WriteError::Taken) => {
                tracing::debug!(blob = name, "another tab is writing the same");
                Ok(())
            }
            Err(WriteError::Full(reason)) => {
                self.is_full.set(true);
                self.remove(name).await;
                Err(format!("{reason}; this visit keeps no further copies"))
            }
            Err(WriteError::Other(reason)) => {
                self.remove(name).await;
                Err(reason)
            }
        }
    }

    /// Deletes a copy.
    pub(crate) async fn remove(&self, name: &str) {
        match &self.folder {
            // Gone already is as good.
            Some(folder) => drop(JsFuture::from(folder.remove_entry(name)).await),
            None => drop(self.memory.borrow_mut().remove(name)),
        }
    }

    /// Deletes what this visit has no use for.
    async fn make_room(&self) {
        let Some(folder) = &self.folder else { return };
        for name in names(folder).await.unwrap_or_default() {
            if !self.used.borrow().contains(&name) {
                tracing::info!(blob = name, "making room for another");
                self.remove(&name).await;
            }
        }
    }
}
