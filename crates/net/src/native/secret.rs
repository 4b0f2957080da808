//! A node's secret in a file of its own.
//!
//! A secret is an identity with all its credit, so it is never replaced silently: only where there
//! is no file at all is a new one made, and another takes its place only where its person says so.

use std::io;
use std::path::Path;

use tokio::fs;

use super::files::write_aside;

/// The secret `name` in `folder`; made by `make` and kept there if there is none yet. Only its
/// owner can read the file.
///
/// # Errors
/// If the folder cannot be made, read or written, or the file does not hold 32 bytes. The error
/// names the file and says what to do; the file stays as it is.
pub async fn load_or_create_secret(
    folder: &Path,
    name: &str,
    make: impl FnOnce() -> [u8; 32],
) -> io::Result<[u8; 32]> {
    let path = folder.join(name);
    if let Some(secret) = read(&path).await? {
        return Ok(secret);
    }
    let secret = make();
    match keep(folder, &path, &secret).await {
        Ok(()) => Ok(secret),
        // Another process of this person was a moment faster; both are the same node.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(&path).await?.ok_or_else(|| say(&path, &error, "try again"))
        }
        Err(error) => Err(say(
            &path,
            &error,
            "a node keeps its key there; make the folder writable, or name another one",
        )),
    }
}

/// Keeps another secret in the place of the one before. Only its owner can read the file.
///
/// # Errors
/// If it cannot be written; the one before stays then.
pub async fn replace_secret(folder: &Path, name: &str, secret: &[u8; 32]) -> io::Result<()> {
    let path = folder.join(name);
    let replaced = async {
        fs::create_dir_all(folder).await?;
        let aside = write_aside(&path, secret, true).await?;
        fs::rename(&aside, &path).await?;
        sync_folder(folder).await
    };
    replaced.await.map_err(|error| say(&path, &error, "the key that was there is there still"))
}

/// `None` if there is no such file.
async fn read(path: &Path) -> io::Result<Option<[u8; 32]>> {
    match fs::read(path).await {
        Ok(bytes) => {
            let length = bytes.len();
            let wrong = || {
                let error = io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("expected 32 bytes, got {length}"),
                );
                let advice = "this is no node's key; put the right file back, or move this one \
                              away to begin as a new node without the old one's credit";
                say(path, &error, advice)
            };
            bytes.try_into().map(Some).map_err(|_| wrong())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(say(path, &error, "this node's key is there and is not replaced; make it readable"))
        }
    }
}

async fn keep(folder: &Path, path: &Path, secret: &[u8; 32]) -> io::Result<()> {
    fs::create_dir_all(folder).await?;
    let aside = write_aside(path, secret, true).await?;
    // Unlike a rename, a link never takes the place of a file. Some file systems have none.
    let kept = match fs::hard_link(&aside, path).await {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return fs::rename(&aside, path).await;
        }
        linked => linked,
    };
    // The secret has its name by now, or another one has.
    let _ = fs::remove_file(&aside).await;
    kept?;
    sync_folder(folder).await
}

/// Makes sure that the file's name outlives a loss of power. Only Unix opens folders.
async fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::File::open(folder).await?.sync_all().await?;
    #[cfg(not(unix))]
    let _no_folders_to_open = folder;
    Ok(())
}

fn say(path: &Path, error: &io::Error, advice: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}; {advice}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_secret_is_made_once_and_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("deep");
        let made = load_or_create_secret(&home, "node.key", || [7; 32]).await.unwrap();
        let again = load_or_create_secret(&home, "node.key", || unreachable!()).await.unwrap();
        assert_eq!((made, again), ([7; 32], [7; 32]));
        assert_eq!(std::fs::read_dir(&home).unwrap().count(), 1, "nothing half-written is left");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(home.join("node.key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn a_secret_that_is_replaced_is_whole_and_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        for secret in [[7; 32], [8; 32]] {
            replace_secret(folder.path(), "node.key", &secret).await.unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), secret);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn a_damaged_secret_is_an_error_that_names_it_and_stays() {
        for damaged in [&b""[..], b"short", &[1; 33]] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("node.key");
            std::fs::write(&path, damaged).unwrap();
            let error =
                load_or_create_secret(folder.path(), "node.key", || [7; 32]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), damaged);
        }
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_read_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        // A folder in its place fails for everybody, root included.
        let path = folder.path().join("node.key");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("inside"), b"x").unwrap();
        let error = load_or_create_secret(folder.path(), "node.key", || [7; 32]).await.unwrap_err();
        assert!(error.to_string().contains("node.key"), "{error}");
        assert!(path.join("inside").exists());

        let file = folder.path().join("file");
        std::fs::write(&file, b"x").unwrap();
        let error = load_or_create_secret(&file, "node.key", || [7; 32]).await.unwrap_err();
        assert!(error.to_string().contains("node.key"), "{error}");
    }

    #[tokio::test]
    async fn processes_that_begin_together_are_one_node() {
        let folder = tempfile::tempdir().unwrap();
        // The other one keeps its secret between this one's look and its own writing.
        let path = folder.path().join("node.key");
        let secret = load_or_create_secret(folder.path(), "node.key", || {
            std::fs::write(&path, [9; 32]).unwrap();
            [7; 32]
        });
        assert_eq!(secret.await.unwrap(), [9; 32]);
        assert_eq!(std::fs::read(&path).unwrap(), [9; 32]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
