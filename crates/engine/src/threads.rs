//! Sharing work among threads: natively through rayon's pool, in a browser's worker not at all.
//!
//! Results are exact whatever is shared and how, so the only question here is what is worth it.

/// How many threads share the work of a step.
#[cfg(not(target_arch = "wasm32"))]
#[must_use]
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// How many threads share the work of a step: a browser's worker is one.
#[cfg(target_arch = "wasm32")]
#[must_use]
pub fn threads() -> usize {
    1
}

/// Has at most so many threads share the work of every step from now on. Only before the first one,
/// and once in a process: false if it is too late.
#[cfg(not(target_arch = "wasm32"))]
pub fn use_threads(count: usize) -> bool {
    rayon::ThreadPoolBuilder::new().num_threads(count.max(1)).build_global().is_ok()
}

/// Changes nothing: a browser's worker is one thread.
#[cfg(target_arch = "wasm32")]
pub fn use_threads(_count: usize) -> bool {
    false
}

/// Multiply-accumulates, or as much of anything else, that a thread should have before another is
/// woken: about two microseconds of matrices.
#[cfg(not(target_arch = "wasm32"))]
const WORTH_A_THREAD: usize = 20_000;

/// Does `work` where [`map`] and [`for_each_chunk`] find the other threads: going there once a step
/// costs less than once a call.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn enter<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}

/// Does `work`.
#[cfg(target_arch = "wasm32")]
pub(crate) fn enter<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// `work` of every number below `count`, each of which costs about `cost`.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn map<T: Send>(
    count: usize,
    cost: usize,
    work: impl Fn(usize) -> T + Sync + Send,
) -> Vec<T> {
    use rayon::prelude::*;
    let together = (WORTH_A_THREAD / cost.max(1)).max(1);
    if count < 2 * together {
        return (0..count).map(work).collect();
    }
    (0..count).into_par_iter().with_min_len(together).map(work).collect()
}

/// `work` of every number below `count`.
#[cfg(target_arch = "wasm32")]
pub(crate) fn map<T>(count: usize, _cost: usize, work: impl Fn(usize) -> T) -> Vec<T> {
    (0..count).map(work).collect()
}

/// Calls `work` with the number of every chunk of `values` and the chunk itself; each costs about
/// `cost`.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn for_each_chunk(
    values: &mut [i32],
    chunk: usize,
    cost: usize,
    work: impl Fn(usize, &mut [i32]) + Sync,
) {
    use rayon::prelude::*;
    let together = (WORTH_A_THREAD / cost.max(1)).max(1);
    if values.len() < 2 * together * chunk {
        return values
            .chunks_exact_mut(chunk)
            .enumerate()
            .for_each(|(index, chunk)| work(index, chunk));
    }
    values
        .par_chunks_exact_mut(chunk)
        .enumerate()
        .with_min_len(together)
        .for_each(|(index, chunk)| work(index, chunk));
}

/// Calls `work` with the number of every chunk of `values` and the chunk itself.
#[cfg(target_arch = "wasm32")]
pub(crate) fn for_each_chunk(
    values: &mut [i32],
    chunk: usize,
    _cost: usize,
    work: impl Fn(usize, &mut [i32]),
) {
    values.chunks_exact_mut(chunk).enumerate().for_each(|(index, chunk)| work(index, chunk));
}
