//! A download that breaks goes on where it stopped; one that never gets anywhere is given up.
#![cfg(not(target_arch = "wasm32"))]

mod blobs;

use blobs::{BlobServer, Manner, blob, kept, store};
use potluck_net::weights::FetchError;

#[tokio::test]
async fn a_broken_download_goes_on_where_it_stopped() {
    let blob = blob();
    let manners = vec![
        Manner::BreakAfter(100_000),
        Manner::BreakAfter(50_000),
        Manner::BreakAfter(0),
        Manner::Good,
    ];
    let server = BlobServer::start(blob.clone(), manners).await;
    let folder = tempfile::tempdir().unwrap();
    let hash = blake3::hash(&blob);
    let mut told = Vec::new();
    let progress = |bytes| told.push(bytes);
    let size = blob.len() as u64;
    let got =
        store(folder.path()).fetch(&server.url, hash.as_bytes(), size, progress).await.unwrap();
    assert!(got == blob);
    let ranges = [None, Some("bytes=100000-"), Some("bytes=150000-"), Some("bytes=150000-")];
    assert_eq!(server.ranges(), ranges.map(|range| range.map(str::to_owned)));
    assert!(told.is_sorted(), "progress goes forward");
    assert_eq!(told.last(), Some(&size));
    assert_eq!(kept(folder.path()), [hash.to_string()]);
    assert_eq!(server.requests.lock().unwrap()[0].0, format!("/api/v1/blobs/{hash}"));
}

#[tokio::test]
async fn a_server_that_knows_no_ranges_sends_it_all_again() {
    for second in [Manner::IgnoreRange, Manner::WrongRange] {
        let blob = blob();
        let server =
            BlobServer::start(blob.clone(), vec![Manner::BreakAfter(1000), second, Manner::Good])
                .await;
        let folder = tempfile::tempdir().unwrap();
        let hash = blake3::hash(&blob);
        let got = store(folder.path())
            .fetch(&server.url, hash.as_bytes(), blob.len() as u64, |_| {})
            .await;
        assert!(got.unwrap() == blob, "{second:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_never_well_is_given_up() {
    for (manner, tries) in
        [(Manner::BreakAfter(0), 3), (Manner::Silent, 3), (Manner::Status(503), 3)]
    {
        let blob = blob();
        let server = BlobServer::start(blob.clone(), vec![manner]).await;
        let folder = tempfile::tempdir().unwrap();
        let hash = blake3::hash(&blob);
        let error = store(folder.path())
            .fetch(&server.url, hash.as_bytes(), blob.len() as u64, |_| {})
            .await;
        assert!(
            matches!(
                error,
                Err(FetchError::Connection { .. } | FetchError::Status { status: 503, .. })
            ),
            "{error:?}"
        );
        assert_eq!(server.ranges().len(), tries, "{manner:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_asked_for_once() {
    let server = BlobServer::start(blob(), vec![Manner::Status(404)]).await;
    let folder = tempfile::tempdir().unwrap();
    let error = store(folder.path()).fetch(&server.url, &[0; 32], 5, |_| {}).await.unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 404, .. }), "{error}");
    assert_eq!(server.ranges().len(), 1);
}
