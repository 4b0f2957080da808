use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const KEY: SiteKey = SiteKey([0xab; 16]);

/// A site that answers a path with what `answer` makes of it; its origin, and what it was asked.
async fn site(
    answer: impl Fn(&str) -> String + Send + 'static,
) -> (SiteOrigin, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            seen.lock().unwrap().push(path.clone());
            let _ = stream.write_all(answer(&path).as_bytes()).await;
        }
    });
    (SiteOrigin::parse(&origin, true).unwrap(), asked)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn moved(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
}

const MISSING: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a_file_or_a_meta_tag_proves_it() {
    let (file, asked) =
        site(|path| if path == PROOF_PATH { ok(&format!("{KEY}\n")) } else { MISSING.into() })
            .await;
    assert!(prove(&file, KEY, true).await.is_ok());
    assert_eq!(*asked.lock().unwrap(), [PROOF_PATH]);
    let (meta, _) = site(|path| match path {
        "/" => ok(&format!("<html><head><META content='{KEY}' name=\"potluck-site\"></head>")),
        _ => MISSING.into(),
    })
    .await;
    assert!(prove(&meta, KEY, true).await.is_ok());
    let other = prove(&meta, SiteKey([1; 16]), true).await;
    assert!(matches!(other, Err(NoProof::Absent)), "{other:?}");
}

#[tokio::test]
async fn an_address_of_ones_own_network_is_not_asked() {
    let (origin, asked) = site(|_| ok(&KEY.to_string())).await;
    for text in [
        origin.to_string(),
        format!("http://127.0.0.1:{}", origin.port()),
        format!("http://[::ffff:127.0.0.1]:{}", origin.port()),
    ] {
        let origin = SiteOrigin::parse(&text, true).unwrap();
        let refused = prove(&origin, KEY, false).await;
        assert!(matches!(refused, Err(NoProof::Address)), "{text}: {refused:?}");
    }
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_redirect_stays_within_the_origin_and_ends() {
    let (other, others) = site(|_| ok(&KEY.to_string())).await;
    let away = other.to_string();
    let (origin, _) = site(move |_| moved(&format!("{away}/"))).await;
    assert!(matches!(prove(&origin, KEY, true).await, Err(NoProof::Absent)));
    let away = other.authority().to_owned();
    let (origin, _) = site(move |_| moved(&format!("//{away}/"))).await;
    assert!(matches!(prove(&origin, KEY, true).await, Err(NoProof::Absent)));
    assert!(others.lock().unwrap().is_empty(), "nobody else is asked");

    let (within, _) =
        site(|path| if path == "/key" { ok(&KEY.to_string()) } else { moved("/key") }).await;
    assert!(prove(&within, KEY, true).await.is_ok());
    let (circle, asked) = site(|_| moved("/again")).await;
    assert!(matches!(prove(&circle, KEY, true).await, Err(NoProof::Absent)));
    assert_eq!(asked.lock().unwrap().len(), 2 * (MAX_REDIRECTS + 1));
}

#[tokio::test]
async fn a_body_without_end_is_read_to_a_limit() {
    let (origin, _) = site(|_| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n{}{KEY}",
            "x".repeat(MAX_BODY_BYTES + 1)
        )
    })
    .await;
    assert!(matches!(prove(&origin, KEY, true).await, Err(NoProof::Absent)));
}

#[test]
fn only_a_tag_of_the_page_counts() {
    let key = KEY.to_string();
    assert!(meta_names(&format!("<meta name=potluck-site content={key}>"), &key));
    assert!(meta_names(&format!("<meta name='potluck-site' content=\"{key}\" />"), &key));
    for not in [
        format!("<!-- <meta name=\"potluck-site\" content=\"{key}\"> -->"),
        format!("<script>'<meta name=\"potluck-site\" content=\"{key}\">'</script>"),
        format!("&lt;meta name=\"potluck-site\" content=\"{key}\">"),
        format!("<meta name=\"other\" content=\"{key}\">"),
        format!("<meta name=\"potluck-site\" content=\"{key}0\">"),
        format!("<p name=\"potluck-site\" content=\"{key}\">"),
        "<meta".to_owned(),
        "<!--".to_owned(),
    ] {
        assert!(!meta_names(&not, &key), "{not}");
    }
}
