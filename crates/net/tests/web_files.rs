//! Fetching, verifying and keeping blobs in a real browser's worker, with its own `fetch` answering
//! from a script.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use js_sys::{Function, Promise, Reflect, Uint8Array};
use potluck_net::platform::{BlobCache, load_or_create_secret};
use potluck_net::weights::{FetchError, Patience, WeightStore, fetch_text};
use std::time::Duration;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
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
    let made = load_or_create_secret("test.key", || [5; 32]).await.unwrap();
    let again = load_or_create_secret("test.key", || [6; 32]).await.unwrap();
    assert_eq!((made, again), ([5; 32], [5; 32]));
    // Made by a visit that ended before it wrote the secret.
    run("write", "interrupted.key", "").await;
    let made = load_or_create_secret("interrupted.key", || [7; 32]).await.unwrap();
    assert_eq!(made, [7; 32]);
}

#[wasm_bindgen_test]
async fn a_damaged_secret_is_an_error_that_names_it_and_stays() {
    for (name, length) in [("short.key", 5_u8), ("long.key", 33), ("longer.key", 200)] {
        run("write", name, &"x".repeat(length.into())).await;
        let error = load_or_create_secret(name, || [6; 32]).await.unwrap_err();
        assert!(error.contains(name), "{error}");
        assert_eq!(run("size", name, "").await, f64::from(length));
    }
}

#[wasm_bindgen_test]
async fn a_copy_that_another_tab_writes_is_not_kept_and_costs_no_other() {
    let blobs = [11, 12, 13].map(blob);
    let [taken, ..] = blobs.each_ref().map(|blob| blake3::hash(blob).to_string());
    for blob in &blobs[1..] {
        fetch(blob).await;
    }
    run("hold", &format!("blobs/{taken}"), "").await;
    fetch(&blobs[0]).await;
    for blob in &blobs[1..] {
        assert_eq!(fetch(blob).await, 0, "from the copy");
    }
    run("release", "", "").await;
    assert_eq!(fetch(&blobs[0]).await, 1, "there was no copy");
    assert_eq!(fetch(&blobs[0]).await, 0, "now there is");
}

#[wasm_bindgen_test]
async fn a_quota_that_is_too_small_is_met_once_and_costs_what_nobody_uses() {
    let [old, used, new, next] = [21, 22, 23, 24].map(blob);
    fetch(&old).await;
    // Another visit, which uses one copy and then meets the quota.
    let store = store().await;
    fetch_with(&store, &used).await;
    run("fill", "", "").await;
    for blob in [&new, &next, &new] {
        assert_eq!(fetch_with(&store, blob).await, 1, "it works, and is not kept");
    }
    let tries = run("tries", "", "").await;
    run("empty", "", "").await;
    assert_eq!(tries, 2.0, "once, and once more when there was room");
    assert_eq!(fetch_with(&store, &used).await, 0, "what this visit uses stays");
    assert_eq!(fetch(&old).await, 1, "what it does not use made room");
}

/// Fetches a blob with a store of its own, as after a reload; how often the server was asked.
async fn fetch(blob: &[u8]) -> usize {
    fetch_with(&store().await, blob).await
}

async fn fetch_with(store: &WeightStore, blob: &[u8]) -> usize {
    serve(blob, false);
    let hash = blake3::hash(blob);
    let got = store.fetch(SERVER, hash.as_bytes(), blob.len() as u64, |_| {}).await.unwrap();
    assert!(got == blob);
    ranges().len()
}

/// What other tabs and the browser do: `write` a file, tell its `size`, `hold` it open for writing
/// and `release` it; `fill` the storage and `empty` it, and tell how many `tries` to write there were
/// meanwhile.
const STORAGE: &str = "return (async () => {
    let folder = await navigator.storage.getDirectory();
    folder = await folder.getDirectoryHandle('potluck', { create: true });
    const parts = name.split('/');
    for (const part of parts.slice(0, -1)) {
        folder = await folder.getDirectoryHandle(part, { create: true });
    }
    const open = async () => {
        const file = await folder.getFileHandle(parts.at(-1), { create: true });
        return await file.createSyncAccessHandle();
    };
    const kind = FileSystemSyncAccessHandle.prototype;
    if (action === 'write') {
        const access = await open();
        access.truncate(0);
        access.write(new TextEncoder().encode(text), { at: 0 });
        access.close();
    } else if (action === 'size') {
        return (await (await folder.getFileHandle(parts.at(-1))).getFile()).size;
    } else if (action === 'hold') {
        globalThis.held = await open();
    } else if (action === 'release') {
        globalThis.held.close();
    } else if (action === 'fill') {
        globalThis.write = kind.write;
        globalThis.tries = 0;
        kind.write = () => {
            globalThis.tries += 1;
            throw new DOMException('full', 'QuotaExceededError');
        };
    } else if (action === 'empty') {
        kind.write = globalThis.write;
    } else if (action === 'tries') {
        return globalThis.tries;
    }
    return 0;
})()";

async fn run(action: &str, name: &str, text: &str) -> f64 {
    let script = Function::new_with_args("action, name, text", STORAGE);
    let promise: Promise = script
        .call3(&JsValue::NULL, &action.into(), &name.into(), &text.into())
        .unwrap()
        .unchecked_into();
    JsFuture::from(promise).await.unwrap().as_f64().unwrap()
}
