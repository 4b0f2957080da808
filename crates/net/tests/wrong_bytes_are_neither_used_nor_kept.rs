//! Bytes that do not match their hash or size are an error, and nothing of them is kept.
#![cfg(not(target_arch = "wasm32"))]

mod blobs;

use blobs::{BlobServer, Manner, blob, kept, store};
use potluck_net::weights::{FetchError, fetch_bytes, fetch_text};

#[tokio::test]
async fn wrong_bytes_are_neither_used_nor_kept() {
    let blob = blob();
    let server = BlobServer::start(blob.clone(), vec![Manner::Good]).await;
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let error = store.fetch(&server.url, &[7; 32], blob.len() as u64, |_| {}).await.unwrap_err();
    assert!(matches!(error, FetchError::WrongHash { .. }), "{error}");
    let error = store.fetch_verified(&server.url, &[7; 32], blob.len() as u64).await.unwrap_err();
    assert!(matches!(error, FetchError::WrongHash { .. }), "{error}");
    assert_eq!(kept(folder.path()), [""; 0]);
}

#[tokio::test]
async fn another_size_is_refused_before_it_is_fetched() {
    let blob = blob();
    let server = BlobServer::start(blob.clone(), vec![Manner::Good]).await;
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (hash, size) = (blake3::hash(&blob), blob.len() as u64);
    for wrong in [size - 1, size + 1] {
        let error = store.fetch(&server.url, hash.as_bytes(), wrong, |_| {}).await.unwrap_err();
        assert!(
            matches!(error, FetchError::WrongSize { expected, got, .. } if expected == wrong && got == size),
            "{error}"
        );
    }
    let error = store.fetch_verified(&server.url, hash.as_bytes(), size - 1).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLong { .. }), "{error}");
    let error = store.fetch(&server.url, hash.as_bytes(), u64::MAX, |_| {}).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLong { .. }), "{error}");
    assert!(store.fetch_verified(&server.url, hash.as_bytes(), size).await.unwrap() == blob);
}

#[tokio::test]
async fn texts_have_a_limit_and_an_encoding() {
    let server = BlobServer::start("héllo".as_bytes().to_vec(), vec![Manner::Good]).await;
    assert_eq!(fetch_text(&server.url, "/x", 6).await.unwrap(), "héllo");
    assert!(matches!(
        fetch_text(&server.url, "/x", 5).await,
        Err(FetchError::TooLong { limit: 5, .. })
    ));
    let server = BlobServer::start(vec![0xff], vec![Manner::Good]).await;
    assert_eq!(fetch_bytes(&server.url, "/x", 6).await.unwrap(), [0xff]);
    assert!(matches!(fetch_text(&server.url, "/x", 6).await, Err(FetchError::NotText { .. })));
}
