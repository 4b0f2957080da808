//! The origin's private file system (OPFS), which only this origin's pages see.
//!
//! Writing needs a dedicated worker: only there every browser has synchronous access handles. Such a
//! handle is exclusive, so a second tab that writes the same file is turned away, before anything is
//! changed.

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
pub(super) const FOLDER: &str = "potluck";
/// Bytes read or written at a time, so that a large blob is not in memory twice.
const SLICE_BYTES: usize = 4 * 1024 * 1024;

/// A file was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WriteError {
    /// Another tab has it open for writing.
    #[error("another tab is writing it")]
    Taken,
    /// The browser keeps no more for this origin, or the disk is full.
    #[error("{0}")]
    Full(String),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl From<JsValue> for WriteError {
    fn from(thrown: JsValue) -> Self {
        let reason = describe(&thrown);
        if error_name(&thrown) == "QuotaExceededError" {
            Self::Full(reason)
        } else {
            Self::Other(reason)
        }
    }
}

/// The name of what was thrown (`NotFoundError`), or nothing.
pub(super) fn error_name(thrown: &JsValue) -> String {
    let name = Reflect::get(thrown, &"name".into());
    name.ok().and_then(|name| name.as_string()).unwrap_or_default()
}

/// A folder below the origin's own, made if there is none.
pub(super) async fn open_folder(path: &[&str]) -> Result<FileSystemDirectoryHandle, JsValue> {
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

/// The bytes of a file, if they are at most `max_bytes`.
pub(super) async fn read_file(
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

/// Writes a file, in the place of what there was.
pub(super) async fn write_file(
    folder: &FileSystemDirectoryHandle,
    name: &str,
    bytes: &[u8],
) -> Result<(), WriteError> {
    let access = open_to_write(folder, name).await?;
    let written = write_all(&access, bytes);
    access.close();
    written
}

/// The file, made if there is none, for nobody else to write until it is closed.
pub(super) async fn open_to_write(
    folder: &FileSystemDirectoryHandle,
    name: &str,
) -> Result<FileSystemSyncAccessHandle, WriteError> {
    let options = FileSystemGetFileOptions::new();
    options.set_create(true);
    let handle: FileSystemFileHandle =
        JsFuture::from(folder.get_file_handle_with_options(name, &options)).await?.dyn_into()?;
    match JsFuture::from(handle.create_sync_access_handle()).await {
        Ok(access) => Ok(access.dyn_into()?),
        // As the specification names it, and as Safari does.
        Err(thrown)
            if ["NoModificationAllowedError", "InvalidStateError"]
                .contains(&error_name(&thrown).as_str()) =>
        {
            Err(WriteError::Taken)
        }
        Err(thrown) => Err(thrown.into()),
    }
}

/// Writes from the beginning, down to the disk.
pub(super) fn write_all(
    access: &FileSystemSyncAccessHandle,
    bytes: &[u8],
) -> Result<(), WriteError> {
    access.truncate_with_f64(0.0)?;
    let mut at = 0;
    while at < bytes.len() {
        let options = FileSystemReadWriteOptions::new();
        options.set_at_f64(at as f64);
        let end = bytes.len().min(at + SLICE_BYTES);
        let written = access.write_with_u8_array_and_options(&bytes[at..end], &options)?;
        if written < 1.0 {
            return Err(WriteError::Full("the storage is full".to_owned()));
        }
        at += size_in_memory(written);
    }
    Ok(access.flush()?)
}

/// The names of what is in a folder.
pub(super) async fn names(folder: &FileSystemDirectoryHandle) -> Result<Vec<String>, JsValue> {
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
