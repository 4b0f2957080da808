//! Puts blobs and manifests into a data folder: `blobs/<hash>`, and `<kind>/<name>.json` last of
//! all.

use std::fs;
use std::path::Path;

use potluck_model::package::{BlobHash, BlobRef};

use crate::error::ImportError;

/// Puts a manifest, which has been read back, where it is found: last of all, since from then on
/// the model is there.
pub(crate) fn install(
    destination: &Path,
    kind: &str,
    name: &str,
    manifest: &[u8],
) -> Result<BlobHash, ImportError> {
    let id = put_blob(&destination.join("blobs"), manifest)?.hash;
    write_aside(&destination.join(kind).join(format!("{name}.json")), manifest)?;
    Ok(id)
}

/// Writes a blob under its hash, unless it is there already; returns what a manifest says of it.
pub(crate) fn put_blob(folder: &Path, bytes: &[u8]) -> Result<BlobRef, ImportError> {
    let hash = BlobHash(*blake3::hash(bytes).as_bytes());
    let path = folder.join(hash.to_string());
    if !path.exists() {
        write_aside(&path, bytes)?;
    }
    Ok(BlobRef { hash, size_bytes: bytes.len() as u64 })
}

/// Makes a folder and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<(), ImportError> {
    fs::create_dir_all(path).map_err(|source| ImportError::File { path: path.to_owned(), source })
}

/// Writes a file beside its place and then renames it, so that no half of one is ever found.
fn write_aside(path: &Path, bytes: &[u8]) -> Result<(), ImportError> {
    let failed = |source| ImportError::File { path: path.to_owned(), source };
    let aside = path.with_extension(format!("{}.part", std::process::id()));
    let written = fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // A full disk should not stay full of what nobody will use.
        let _ = fs::remove_file(&aside);
    }
    written.map_err(failed)
}
