//! Puts blobs and manifests into a data folder: `blobs/<hash>`, and `<kind>/<name>.json` last of
//! all.
//!
//! What a power cut may leave behind is a blob too many, never a model with a blob too few: files
//! are on the disk before they are renamed, and the blobs' names before the manifest's.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use potluck_model::package::{BlobHash, BlobRef};

use crate::error::ImportError;

/// Bytes of a file that are compared at once.
const COMPARED_BYTES: usize = 1 << 16;

/// Puts a manifest, which has been read back, where it is found: last of all, since from then on
/// the model is there.
pub(crate) fn install(
    destination: &Path,
    kind: &str,
    name: &str,
    manifest: &[u8],
) -> Result<BlobHash, ImportError> {
    let blobs = destination.join("blobs");
    let id = put_blob(&blobs, manifest)?.hash;
    sync_folder(&blobs)?;
    let folder = destination.join(kind);
    write_aside(&folder.join(format!("{name}.json")), manifest)?;
    sync_folder(&folder)?;
    Ok(id)
}

/// Writes a blob under its hash, unless it is there already, with these bytes: one that a disk or
/// an earlier crash has damaged is written again. Returns what a manifest says of it.
pub(crate) fn put_blob(folder: &Path, bytes: &[u8]) -> Result<BlobRef, ImportError> {
    let hash = BlobHash(*blake3::hash(bytes).as_bytes());
    let path = folder.join(hash.to_string());
    if !holds(&path, bytes).unwrap_or(false) {
        write_aside(&path, bytes)?;
    }
    Ok(BlobRef { hash, size_bytes: bytes.len() as u64 })
}

/// Makes a folder and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<(), ImportError> {
    fs::create_dir_all(path)
        .map_err(|source| ImportError::File { path: path.to_owned(), source })?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// True if a file holds just these bytes.
fn holds(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != bytes.len() as u64 {
        return Ok(false);
    }
    let mut buffer = [0; COMPARED_BYTES];
    for expected in bytes.chunks(COMPARED_BYTES) {
        let read = &mut buffer[..expected.len()];
        file.read_exact(read)?;
        if read != expected {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes a file beside its place and then renames it, so that no half of one is ever found.
fn write_aside(path: &Path, bytes: &[u8]) -> Result<(), ImportError> {
    let failed = |source| ImportError::File { path: path.to_owned(), source };
    let aside = path.with_extension(format!("{}.part", std::process::id()));
    let written = write_through(&aside, bytes).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // A full disk should not stay full of what nobody will use.
        let _ = fs::remove_file(&aside);
    }
    written.map_err(failed)
}

fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the names of a folder's files last. Other systems than Unix do that by themselves, and
/// open no folders.
fn sync_folder(path: &Path) -> Result<(), ImportError> {
    // The folder in which a relative path begins.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let synced = if cfg!(unix) { File::open(path).and_then(|it| it.sync_all()) } else { Ok(()) };
    synced.map_err(|source| ImportError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_not_believed_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..200_000_u32).map(|at| at.to_le_bytes()[1]).collect();
        let blob = put_blob(folder.path(), &bytes).unwrap();
        let path = folder.path().join(blob.hash.to_string());
        let mut flipped = bytes.clone();
        flipped[150_000] ^= 1;
        let longer = [&bytes[..], &[0]].concat();
        for damaged in [&bytes[..1000], &flipped, &longer, &[]] {
            fs::write(&path, damaged).unwrap();
            put_blob(folder.path(), &bytes).unwrap();
            assert!(fs::read(&path).unwrap() == bytes, "{} bytes", damaged.len());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn what_is_there_and_right_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let blob = put_blob(folder.path(), b"weights").unwrap();
        let path = folder.path().join(blob.hash.to_string());
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        put_blob(folder.path(), b"weights").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), long_ago);
    }
}
