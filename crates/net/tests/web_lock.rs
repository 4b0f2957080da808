//! Claims between the tabs of one browser: one at a time, and free again after it was released.
#![cfg(target_arch = "wasm32")]

use potluck_net::platform::{Claim, claim};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
async fn a_claim_is_exclusive_until_it_is_released() {
    let Claim::Held(lock) = claim("web-lock-test").await else { panic!("nobody else has it") };
    assert!(matches!(claim("web-lock-test").await, Claim::Taken));
    assert!(claim("web-lock-test-other").await.is_granted(), "other names are other locks");
    lock.release().await;
    let again = claim("web-lock-test").await;
    assert!(matches!(again, Claim::Held(_)), "{again:?}");
}
