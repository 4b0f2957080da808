//! Blobs and secrets in the origin's private file system (OPFS), which only this origin's pages
//! see.
//!
//! Where there is none (private windows, pages without TLS, storage denied), everything lives in
//! memory for as long as the worker does. Writing needs a dedicated worker: only there every
//! browser has synchronous access handles.

use std::cell::RefCell;
use std::collections::HashMap;

use js_sys::{ArrayBuffer, Reflect, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    File, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions,
    FileSystemGetFileOptions, FileSystemReadWriteOptions, FileSystemSyncAccessHandle,
    StorageManager,
};

use super::describe;

/// The folder of everything we keep.
const FOLDER: &str = "potluck";
/// The folder of blobs in it.
const BLOBS: &str = "blobs";
/// Bytes read or written at a time, so that a large blob is not in memory twice.
const SLICE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of copies kept in memory where there is no file system. Small parts are fetched once that
/// way; a large one is in use anyway, and twice the memory for it would cost more than fetching it
/// again.
const MAX_MEMORY_BYTES: usize = 64 * 1024 * 1024;

/// Copies of blobs, one file each, named by their hash.
///
/// The browser bounds how much an origin may keep. When it is full, all other copies go and writing
/// is tried once more. Nothing here is trusted: [`WeightStore`](crate::weights::WeightStore)
/// verifies what it reads, so a file that was only half written does no harm.
#[derive(Debug)]
pub struct BlobCache {
    /// `None`: memory.
    folder: Option<FileSystemDirectoryHandle>,
    memory: RefCell<HashMap<String, Vec<u8>>>,
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
        Self { folder, memory: RefCell::default() }
    }

    /// True if copies outlive this worker.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        self.folder.is_some()
    }

    /// The blob's bytes, if there is a copy of at most `max_bytes`.
    pub(crate) async fn read(&self, name: &str, max_bytes: u64) -> Option<Vec<u8>> {
        match &self.folder {
            // Not there, or being written by another tab.
            Some(folder) => read_file(folder, name, max_bytes).await.ok(),
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
        if write_file(folder, name, bytes).await.is_ok() {
            return Ok(());
        }
        self.clear().await;
        let written = write_file(folder, name, bytes).await;
        if written.is_err() {
            self.remove(name).await;
        }
        written.map_err(|thrown| describe(&thrown))
    }

    /// Deletes a copy.
    pub(crate) async fn remove(&self, name: &str) {
        match &self.folder {
            // Gone already is as good.
            Some(folder) => drop(JsFuture::from(folder.remove_entry(name)).await),
            None => drop(self.memory.borrow_mut().remove(name)),
        }
    }

    async fn clear(&self) {
        let Some(folder) = &self.folder else { return };
        for name in names(folder).await.unwrap_or_default() {
            self.remove(&name).await;
        }
    }
}

/// The secret `name`; made by `make` and kept if there is none yet.
///
/// Where it cannot be kept, or the file is damaged, this visit has the fresh one: a visitor without
/// storage is a new node every time.
pub async fn load_or_create_secret(name: &str, make: impl FnOnce() -> [u8; 32]) -> [u8; 32] {
    let folder = match open_folder(&[FOLDER]).await {
        Ok(folder) => folder,
        Err(thrown) => {
            tracing::info!(
                reason = describe(&thrown),
                "no storage here; this node is a new one every time"
            );
            return make();
        }
    };
    if let Ok(bytes) = read_file(&folder, name, 32).await
        && let Ok(secret) = bytes.try_into()
    {
        return secret;
    }
    let secret = make();
    if let Err(thrown) = write_file(&folder, name, &secret).await {
        tracing::warn!(reason = describe(&thrown), "could not keep this node's key");
    }
    secret
}

async fn open_folder(path: &[&str]) -> Result<FileSystemDirectoryHandle, JsValue> {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into())?;
    let storage: StorageManager = Reflect::get(&navigator, &"storage".into())?.dyn_into()?;
    let mut folder: FileSystemDirectoryHandle =
        JsFuture::from(storage.get_directory()).await?.dyn_into()?;
    for name in path {
        let options = FileSystemGetDirectoryOptions::new();
        options.set_create(true);
        folder = JsFuture::from(folder.get_directory_handle_with_options(name, &options))
            .await?
            .dyn_into()?;
    }
    Ok(folder)
}

async fn read_file(
    folder: &FileSystemDirectoryHandle,
    name: &str,
    max_bytes: u64,
) -> Result<Vec<u8>, JsValue> {
    let handle: FileSystemFileHandle =
        JsFuture::from(folder.get_file_handle(name)).await?.dyn_into()?;
    let file: File = JsFuture::from(handle.get_file()).await?.dyn_into()?;
    let size = file.size();
    if size > max_bytes as f64 {
        return Err("too long".into());
    }
    let mut bytes = Vec::new();
    let mut at = 0.0;
    while at < size {
        let end = size.min(at + SLICE_BYTES as f64);
        let slice = file.slice_with_f64_and_f64(at, end)?;
        let buffer: ArrayBuffer = JsFuture::from(slice.array_buffer()).await?.dyn_into()?;
        if at == 0.0 {
            let whole = usize::try_from(max_bytes).unwrap_or(usize::MAX);
            // Exactly what is needed, and no panic where there is no memory for it.
            bytes
                .try_reserve_exact(whole.min(size_in_memory(size)))
                .map_err(|_| JsValue::from("no memory"))?;
        }
        let part = Uint8Array::new(&buffer);
        let from = bytes.len();
        bytes.resize(from + part.length() as usize, 0);
        part.copy_to(&mut bytes[from..]);
        at = end;
    }
    Ok(bytes)
}

/// A file's size as a length; sizes are whole and below 2^32 here, because `max_bytes` was checked.
fn size_in_memory(size: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, not negative, at most max_bytes"
    )]
    {
        size as usize
    }
}

async fn write_file(
    folder: &FileSystemDirectoryHandle,
    name: &str,
    bytes: &[u8],
) -> Result<(), JsValue> {
    let options = FileSystemGetFileOptions::new();
    options.set_create(true);
    let handle: FileSystemFileHandle =
        JsFuture::from(folder.get_file_handle_with_options(name, &options)).await?.dyn_into()?;
    // Exclusive: a second tab that writes the same blob fails here, and needs no copy of its own.
    let access: FileSystemSyncAccessHandle =
        JsFuture::from(handle.create_sync_access_handle()).await?.dyn_into()?;
    let written = write_all(&access, bytes);
    access.close();
    written
}

fn write_all(access: &FileSystemSyncAccessHandle, bytes: &[u8]) -> Result<(), JsValue> {
    access.truncate_with_f64(0.0)?;
    let mut at = 0;
    while at < bytes.len() {
        let options = FileSystemReadWriteOptions::new();
        options.set_at_f64(at as f64);
        let end = bytes.len().min(at + SLICE_BYTES);
        let written = access.write_with_u8_array_and_options(&bytes[at..end], &options)?;
        if written < 1.0 {
            return Err("the storage is full".into());
        }
        at += size_in_memory(written);
    }
    access.flush()
}

async fn names(folder: &FileSystemDirectoryHandle) -> Result<Vec<String>, JsValue> {
    let entries = folder.keys();
    let mut names = Vec::new();
    loop {
        let next = JsFuture::from(entries.next()?).await?;
        if Reflect::get(&next, &"done".into())?.is_truthy() {
            return Ok(names);
        }
        names.extend(Reflect::get(&next, &"value".into())?.as_string());
    }
}
