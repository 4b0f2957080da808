//! Work that goes on beside the loop: natively on a thread of its own, as an engine computes, and
//! waits for its GPU, without ever letting go; in a page's worker, which has one thread only,
//! between what else the loop does.

use std::time::Duration;

pub(super) use self::platform::Beside;

#[cfg(not(target_arch = "wasm32"))]
mod platform {
    use std::sync::{Arc, Mutex, PoisonError};

    use futures::channel::oneshot;
    use futures::future::select;

    use super::Duration;

    /// Ends the work when it is dropped, as soon as that waits for something.
    pub(in crate::machine) struct Beside {
        _held: oneshot::Sender<()>,
    }

    /// Bytes of the thread's stack: what a program's first thread has, as a software GPU compiles
    /// its shaders on it.
    const STACK_BYTES: usize = 8 * 1024 * 1024;

    /// Whoever has it works; others wait. An engine that is being dropped may still hold a GPU and
    /// its memory, and two that are measured at once measure each other.
    pub(in crate::machine) type Turn = Arc<Mutex<()>>;

    impl Beside {
        /// Starts the work. Where the system has no thread left, it is dropped, and with it whatever
        /// others wait for.
        pub(in crate::machine) fn start<F: Future<Output = ()>>(
            turn: &Turn,
            work: impl FnOnce() -> F + Send + 'static,
        ) -> Self {
            let (held, dropped) = oneshot::channel::<()>();
            let (turn, runtime) = (Arc::clone(turn), tokio::runtime::Handle::current());
            let thread = std::thread::Builder::new().name("engine".to_owned());
            let started = thread.stack_size(STACK_BYTES).spawn(move || {
                // Nothing is guarded but the turn itself.
                let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
                runtime.block_on(async {
                    // Whether it was dropped comes first: then the work does not even begin.
                    select(dropped, Box::pin(async move { work().await })).await;
                });
            });
            if let Err(error) = started {
                tracing::error!(%error, "no thread for the engine");
            }
            Self { _held: held }
        }

        /// Lets the work go on, which it does by itself. Never returns.
        pub(in crate::machine) async fn advance(&mut self) {
            std::future::pending().await
        }

        /// How long the loop has been kept from everything else since this was last asked: not at
        /// all.
        pub(in crate::machine) fn take_busy(&mut self) -> Duration {
            Duration::ZERO
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod platform {
    use std::future::poll_fn;
    use std::task::Poll;

    use futures::FutureExt as _;
    use futures::future::{Fuse, LocalBoxFuture};
    use web_time::Instant;

    use super::Duration;

    /// Ends the work when it is dropped.
    pub(in crate::machine) struct Beside {
        work: Fuse<LocalBoxFuture<'static, ()>>,
        busy: Duration,
    }

    /// Needs nothing: work that is dropped is gone.
    #[derive(Clone, Default)]
    pub(in crate::machine) struct Turn(());

    impl Beside {
        /// Starts the work, which goes on in [`Self::advance`].
        pub(in crate::machine) fn start<F: Future<Output = ()> + 'static>(
            _turn: &Turn,
            work: impl FnOnce() -> F + 'static,
        ) -> Self {
            Self { work: async move { work().await }.boxed_local().fuse(), busy: Duration::ZERO }
        }

        /// Lets the work go on. Never returns, and may be dropped at any time.
        pub(in crate::machine) async fn advance(&mut self) {
            poll_fn(|context| {
                let begin = Instant::now();
                // Its end shows by what it does not send any more.
                let _ = self.work.poll_unpin(context);
                self.busy += begin.elapsed();
                Poll::<()>::Pending
            })
            .await
        }

        /// How long the loop has been kept from everything else since this was last asked.
        pub(in crate::machine) fn take_busy(&mut self) -> Duration {
            std::mem::take(&mut self.busy)
        }
    }
}

pub(super) use self::platform::Turn;
