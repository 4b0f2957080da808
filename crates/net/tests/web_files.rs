//! Fetching, verifying and keeping blobs in a real browser's worker, with its own `fetch` answering
//! from a script.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use js_sys::{Function, Reflect, Uint8Array};
use potluck_net::platform::{BlobCache, load_or_create_secret};
use potluck_net::weights::{FetchError, Patience, WeightStore, fetch_text};
use std::time::Duration;
use wasm_bindgen::JsValue;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const SERVER: &str = "https://server.invalid";

/// Answers from `globalThis.blob`; the first answer breaks off halfway. Notes the ranges asked for
/// in `globalThis.ranges`.
const ANSWER: &str = "
    const range = new Headers(options.headers || {}).get('range');
    globalThis.ranges.push(range);
    const from = range ? parseInt(range.slice(6)) : 0;
    const whole = globalThis.blob;
    const breaks = globalThis.ranges.length === 1 && globalThis.breaks;
    let at = from;
    const body = new ReadableStream({ pull(controller) {
        if (breaks && at > whole.length / 2) { controller.error(new TypeError('broken')); return; }
        if (at >= whole.length) { controller.close(); return; }
        const end = Math.min(whole.length, at + 50000);
        controller.enqueue(whole.slice(at, end));
        at = end;
    }});
    const headers = { 'content-length': String(whole.length - from),
        'content-range': `bytes ${from}-${whole.length - 1}/${whole.length}` };
    return Promise.resolve(new Response(body, { status: from ? 206 : 200, headers }));
";

fn serve(blob: &[u8], breaks: bool) {
    let global = js_sys::global();
    let set = |name: &str, value: &JsValue| Reflect::set(&global, &name.into(), value).unwrap();
    set("blob", &Uint8Array::from(blob));
    set("ranges", &js_sys::Array::new());
    set("breaks", &breaks.into());
    set("fetch", &Function::new_with_args("url, options", ANSWER));
}

fn ranges() -> Vec<Option<String>> {
    let ranges: js_sys::Array = Reflect::get(&js_sys::global(), &"ranges".into()).unwrap().into();
    ranges.iter().map(|range| range.as_string()).collect()
}

fn blob(seed: usize) -> Vec<u8> {
    (0..300_000).map(|index: usize| (index * seed + index / 251).to_le_bytes()[0]).collect()
}

async fn store() -> WeightStore {
    let cache = BlobCache::open().await;
    assert!(cache.is_lasting());
    let patience =
        Patience { breaks: 3, first_wait: Duration::from_millis(1), stall: Duration::from_secs(5) };
    WeightStore::new(cache).with_patience(patience)
}

#[wasm_bindgen_test]
async fn a_broken_download_goes_on_and_is_kept() {
    let blob = blob(31);
    let hash = blake3::hash(&blob);
    serve(&blob, true);
    let mut told = 0;
    let size = blob.len() as u64;
    let got =
        store().await.fetch(SERVER, hash.as_bytes(), size, |bytes| told = bytes).await.unwrap();
    assert!(got == blob && told == size);
    let asked = ranges();
    assert!(
        asked.len() == 2 && asked[0].is_none() && asked[1].as_deref() != Some("bytes=0-"),
        "{asked:?}"
    );
    // Another store, as after a reload.
    let got = store().await.fetch(SERVER, hash.as_bytes(), size, |_| {}).await.unwrap();
    assert!(got == blob);
    assert_eq!(ranges().len(), 2, "from the copy");
}

#[wasm_bindgen_test]
async fn wrong_bytes_are_neither_used_nor_kept() {
    let blob = blob(7);
    serve(&blob, false);
    for calls in 1..3 {
        let error =
            store().await.fetch(SERVER, &[9; 32], blob.len() as u64, |_| {}).await.unwrap_err();
        assert!(matches!(error, FetchError::WrongHash { .. }), "{error}");
        assert_eq!(ranges().len(), calls);
    }
    assert!(
        store()
            .await
            .fetch_verified(SERVER, blake3::hash(&blob).as_bytes(), 1 << 20)
            .await
            .unwrap()
            == blob
    );
}

#[wasm_bindgen_test]
async fn texts_have_a_limit() {
    serve(b"hello", false);
    assert_eq!(fetch_text(SERVER, "/x", 5).await.unwrap(), "hello");
    assert!(matches!(fetch_text(SERVER, "/x", 4).await, Err(FetchError::TooLong { limit: 4, .. })));
}

#[wasm_bindgen_test]
async fn a_secret_is_made_once() {
    let made = load_or_create_secret("test.key", || [5; 32]).await;
    let again = load_or_create_secret("test.key", || [6; 32]).await;
    assert_eq!((made, again), ([5; 32], [5; 32]));
}
