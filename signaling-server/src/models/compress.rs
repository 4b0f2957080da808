//! A blob's compressed copy, beside it: `<hash>.br`. A tokenizer is many megabytes of JSON, and the
//! first thing that a tab fetches.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Brotli's quality: high, as it is done once at import, and below the two steps that take minutes for
/// tens of megabytes.
const QUALITY: u32 = 9;
/// Brotli's window, 2^so many bytes; every browser has room for it.
const WINDOW_BITS: u32 = 22;
/// Bytes between two looks at the clock.
const CHUNK_BYTES: usize = 1 << 18;
/// Nobody waits longer for this at an import; without the copy the blob is served as it is.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the compressed copy of a blob is.
pub(super) fn compressed(blob: &Path) -> PathBuf {
    let mut name = blob.as_os_str().to_owned();
    name.push(".br");
    name.into()
}

/// Writes the compressed copy of a blob, aside and renamed; none if it would take too long or be no
/// smaller.
pub(super) fn compress_beside(blob: &Path) -> io::Result<()> {
    let (target, aside) = (compressed(blob), blob.with_extension("br.part"));
    let written = write_compressed(blob, &aside, Instant::now() + PATIENCE);
    let smaller = match written {
        Ok(true) => fs::metadata(&aside)?.len() < fs::metadata(blob)?.len(),
        _ => false,
    };
    if smaller {
        return fs::rename(&aside, &target);
    }
    // Neither a part nor a copy of what was there before is of use.
    for path in [&aside, &target] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    written.map(|_| ())
}

/// False if the deadline came first.
fn write_compressed(blob: &Path, to: &Path, deadline: Instant) -> io::Result<bool> {
    let mut reader = BufReader::new(File::open(blob)?);
    let file = BufWriter::new(File::create(to)?);
    let mut writer = brotli::CompressorWriter::new(file, CHUNK_BYTES, QUALITY, WINDOW_BITS);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = reader.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        writer.write_all(&chunk[..read])?;
    }
    let mut file = writer.into_inner();
    file.flush()?;
    file.get_ref().sync_all()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_copy_is_smaller_and_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let blob = folder.path().join("00ff");
        let text = "{\"token\": 17}, ".repeat(50_000);
        fs::write(&blob, &text).unwrap();
        compress_beside(&blob).unwrap();
        assert_eq!(files(folder.path()), ["00ff", "00ff.br"]);
        let mut read = String::new();
        let copy = File::open(compressed(&blob)).unwrap();
        assert!(copy.metadata().unwrap().len() < text.len() as u64 / 100);
        brotli::Decompressor::new(copy, 4096).read_to_string(&mut read).unwrap();
        assert!(read == text);
    }

    #[test]
    fn a_copy_that_is_no_smaller_is_not_kept_and_an_old_one_goes() {
        let folder = tempfile::tempdir().unwrap();
        let blob = folder.path().join("00ff");
        fs::write(&blob, "x").unwrap();
        fs::write(compressed(&blob), "of another time").unwrap();
        compress_beside(&blob).unwrap();
        assert_eq!(files(folder.path()), ["00ff"]);
    }

    #[test]
    fn what_takes_too_long_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let (blob, to) = (folder.path().join("00ff"), folder.path().join("aside"));
        fs::write(&blob, "x".repeat(1000)).unwrap();
        let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        assert!(!write_compressed(&blob, &to, long_ago).unwrap());
    }
}
