//! The small files beside weights, read whole.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::ImportError;

/// Bytes of a JSON file at most: the largest vocabularies with their merges have some 30 MB.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// A JSON file.
pub(crate) fn json<T: DeserializeOwned>(path: &Path) -> Result<T, ImportError> {
    serde_json::from_slice(&read(path)?)
        .map_err(|source| ImportError::Json { path: path.to_owned(), source })
}

/// The same, of a file that need not be there.
pub(crate) fn optional_json<T: DeserializeOwned + Default>(path: &Path) -> Result<T, ImportError> {
    if path.exists() { json(path) } else { Ok(T::default()) }
}

/// The bytes of a small file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    let failed = |source| ImportError::File { path: path.to_owned(), source };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MAX_JSON_BYTES {
        let source =
            std::io::Error::other(format!("{length} bytes, at most {MAX_JSON_BYTES} are read"));
        return Err(failed(source));
    }
    fs::read(path).map_err(failed)
}
