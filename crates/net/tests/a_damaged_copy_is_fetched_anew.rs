//! A good copy is used without asking the server; a damaged one is thrown away and fetched anew.
#![cfg(not(target_arch = "wasm32"))]

mod blobs;

use blobs::{BlobServer, Manner, blob, store};

#[tokio::test]
async fn a_damaged_copy_is_fetched_anew() {
    let blob = blob();
    let server = BlobServer::start(blob.clone(), vec![Manner::Good]).await;
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (hash, size) = (blake3::hash(&blob), blob.len() as u64);
    let fetch = async || store.fetch(&server.url, hash.as_bytes(), size, |_| {}).await.unwrap();
    assert!(fetch().await == blob);
    assert!(fetch().await == blob);
    assert_eq!(server.ranges().len(), 1, "the second time from the copy");

    let copy = folder.path().join(hash.to_string());
    let mut damaged = blob.clone();
    damaged[12_345] ^= 1;
    for bytes in [damaged, blob[..100].to_vec(), [&blob[..], b"more"].concat()] {
        std::fs::write(&copy, bytes).unwrap();
        let before = server.ranges().len();
        assert!(fetch().await == blob);
        assert_eq!(server.ranges().len(), before + 1);
        assert!(std::fs::read(&copy).unwrap() == blob);
    }
}

#[tokio::test]
async fn a_note_is_kept_beside_the_copies() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(store(folder.path()).note("about-this-machine").await, None);
    for text in ["first", "second"] {
        store(folder.path()).keep_note("about-this-machine", text).await;
        assert_eq!(store(folder.path()).note("about-this-machine").await.as_deref(), Some(text));
    }
    std::fs::write(folder.path().join("about-this-machine"), [0xff, 0xfe]).unwrap();
    assert_eq!(store(folder.path()).note("about-this-machine").await, None, "no text");
}
