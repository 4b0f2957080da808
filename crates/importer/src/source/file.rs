//! A file of weights, of which exactly the wanted bytes are read.
//!
//! Not mapped into memory: that needs `unsafe`, and a file that shrinks under a map ends the
//! process. Every range is compared with the file's length before anything is allocated, so a
//! length that a header invents costs nothing.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::ImportError;

/// Anything with bytes and a place in them.
trait Readable: Read + Seek + Send {}
impl<T: Read + Seek + Send> Readable for T {}

/// An opened file, or bytes in memory that stand for one.
pub(super) struct WeightsFile {
    path: PathBuf,
    size_bytes: u64,
    inner: Mutex<Box<dyn Readable>>,
}

impl WeightsFile {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Self, ImportError> {
        let failed = |source| ImportError::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let size_bytes = file.metadata().map_err(failed)?.len();
        Ok(Self { path: path.to_owned(), size_bytes, inner: Mutex::new(Box::new(file)) })
    }

    /// Bytes in memory under a name, for tests and fuzzing.
    pub(super) fn from_bytes(name: &str, bytes: Vec<u8>) -> Self {
        let size_bytes = bytes.len() as u64;
        Self {
            path: PathBuf::from(name),
            size_bytes,
            inner: Mutex::new(Box::new(io::Cursor::new(bytes))),
        }
    }

    /// Its length.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Exactly `length` bytes from `offset` on.
    pub(super) fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, ImportError> {
        let end = offset.checked_add(length as u64);
        if end.is_none_or(|end| end > self.size_bytes) {
            let got = self.size_bytes;
            return Err(
                self.broken(&format!("{length} bytes at {offset} are wanted, the file has {got}"))
            );
        }
        let failed = |source| ImportError::File { path: self.path.clone(), source };
        let mut bytes = vec![0; length];
        // A thread that panicked while it read left nothing half done: every read seeks first.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.seek(SeekFrom::Start(offset)).map_err(failed)?;
        inner.read_exact(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// The error for a file that is not what it should be.
    pub(super) fn broken(&self, problem: &str) -> ImportError {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy();
        ImportError::Weights(format!("{name}: {problem}"))
    }
}

impl std::fmt::Debug for WeightsFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeightsFile")
            .field("path", &self.path)
            .field("size_bytes", &self.size_bytes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_outside_the_file_is_refused_before_it_is_allocated() {
        let file = WeightsFile::from_bytes("weights", vec![1, 2, 3, 4]);
        assert_eq!(file.read_at(1, 2).unwrap(), [2, 3]);
        assert!(file.read_at(4, 0).unwrap().is_empty());
        for (offset, length) in [(3, 2), (5, 0), (0, usize::MAX), (u64::MAX, 1)] {
            let words = file.read_at(offset, length).unwrap_err().to_string();
            assert!(words.contains("weights: ") && words.contains("the file has 4"), "{words}");
        }
    }
}
