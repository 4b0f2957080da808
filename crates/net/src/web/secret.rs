//! A node's secret in the origin's private file system.
//!
//! A secret is an identity with all its credit, so it is never replaced silently: only where there
//! is none is a new one made, and another takes its place only where its person says so.

use core::time::Duration;

use web_sys::FileSystemDirectoryHandle;

use super::opfs::{
    FOLDER, WriteError, error_name, open_folder, open_to_write, read_file, write_all,
};
use super::{describe, sleep};

/// Bytes that are read of a file that should hold 32, so that a longer one is told apart.
const MAX_BYTES: u64 = 64;
/// How often to look again while another tab writes the secret, and how long in between.
const LOOKS: usize = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// The secret `name`; made by `make` and kept if there is none yet.
///
/// Where nothing can be kept (private windows, storage denied or full) this visit has the fresh one:
/// a visitor without storage is a new node every time.
///
/// # Errors
/// If there is a file and it cannot be read or does not hold 32 bytes. The error names it and says
/// what to do; the file stays as it is.
pub async fn load_or_create_secret(
    name: &str,
    make: impl FnOnce() -> [u8; 32],
) -> Result<[u8; 32], String> {
    let folder = match open_folder(&[FOLDER]).await {
        Ok(folder) => folder,
        Err(thrown) => {
            tracing::info!(
                reason = describe(&thrown),
                "no storage here; this node is a new one every time"
            );
            return Ok(make());
        }
    };
    if let Some(secret) = read(&folder, name).await? {
        return Ok(secret);
    }
    let secret = make();
    for _ in 0..LOOKS {
        match keep(&folder, name, &secret).await {
            Ok(true) => return Ok(secret),
            // Another tab was a moment faster; both are the same node.
            Ok(false) | Err(WriteError::Taken) => sleep(BETWEEN_LOOKS).await,
            Err(error) => {
                tracing::warn!(%error, "could not keep this node's key");
                return Ok(secret);
            }
        }
        if let Some(secret) = read(&folder, name).await? {
            return Ok(secret);
        }
    }
    Err(say(name, "another tab keeps it open; close this site's other tabs and reload"))
}

/// Keeps another secret in the place of the one before.
///
/// # Errors
/// If this browser keeps nothing, or does not now; the one before stays then.
pub async fn replace_secret(name: &str, secret: &[u8; 32]) -> Result<(), String> {
    let fail = |reason: &str| {
        format!("this browser could not keep the key ({reason}); nothing was changed")
    };
    let folder = open_folder(&[FOLDER]).await.map_err(|thrown| fail(&describe(&thrown)))?;
    let access = open_to_write(&folder, name).await.map_err(|error| fail(&error.to_string()))?;
    // Over the old one, without emptying the file first: there is no moment without a key.
    let written = access.write_with_u8_array(secret).and_then(|_| {
        access.truncate_with_f64(32.0)?;
        access.flush()
    });
    access.close();
    written.map_err(|thrown| fail(&describe(&thrown)))
}

/// `None` if there is no such file, or an empty one: it was made and its secret was not written, so
/// nobody ever had it.
async fn read(folder: &FileSystemDirectoryHandle, name: &str) -> Result<Option<[u8; 32]>, String> {
    const ADVICE: &str = "reload the page to try again; clearing this site's data begins as a new \
                          node without the old one's credit";
    let bytes = match read_file(folder, name, MAX_BYTES).await {
        Ok(bytes) if bytes.is_empty() => return Ok(None),
        Ok(bytes) => bytes,
        Err(thrown) if error_name(&thrown) == "NotFoundError" => return Ok(None),
        Err(thrown) => return Err(say(name, &format!("{}; {ADVICE}", describe(&thrown)))),
    };
    let length = bytes.len();
    let wrong = |_| say(name, &format!("expected 32 bytes, got {length}; {ADVICE}"));
    bytes.try_into().map(Some).map_err(wrong)
}

/// Writes the secret, unless there is one: false.
async fn keep(
    folder: &FileSystemDirectoryHandle,
    name: &str,
    secret: &[u8; 32],
) -> Result<bool, WriteError> {
    let access = open_to_write(folder, name).await?;
    // Looked at again under the lock.
    let kept = match access.get_size() {
        Ok(size) if size > 0.0 => Ok(false),
        Ok(_) => write_all(&access, secret).map(|()| true),
        Err(thrown) => Err(thrown.into()),
    };
    access.close();
    kept
}

fn say(name: &str, reason: &str) -> String {
    format!("the key {name} that this browser keeps for this site cannot be used: {reason}")
}
