//! The processor's threads, and how many of them compute.

use crate::node::Device;

/// The processor as an engine uses it.
pub(super) fn device() -> Device {
    let threads = u32::try_from(potluck_engine::threads()).unwrap_or(u32::MAX);
    Device::Processor { threads, cores: cores().unwrap_or(threads).max(threads) }
}

/// Threads that the processor has, where that can be known.
#[cfg(not(target_arch = "wasm32"))]
fn cores() -> Option<u32> {
    u32::try_from(std::thread::available_parallelism().ok()?.get()).ok()
}

/// Threads that the browser says the processor has.
#[cfg(target_arch = "wasm32")]
fn cores() -> Option<u32> {
    use js_sys::Reflect;
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).ok()?;
    let count = Reflect::get(&navigator, &"hardwareConcurrency".into()).ok()?.as_f64()?;
    // No page sees more than a few hundred, and none a fraction.
    if !(1.0..=65_536.0).contains(&count) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is from 1 to 65,536"
    )]
    Some(count as u32)
}
