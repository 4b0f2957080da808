//! Opening an adapter and hearing what the device reports later: loss, refusals, lack of memory.
//! Chooses no kernels and knows no model.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::GpuError;
use super::variants::Shaders;

/// What a GPU calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuInfo {
    /// The interface: `"webgpu"`, `"vulkan"`, `"metal"`, `"dx12"` or `"gl"`.
    pub kind: &'static str,
    /// The adapter's name; browsers may keep it to themselves.
    pub adapter: String,
    /// Whether the adapter is a program on the CPU (llvmpipe, SwiftShader, WARP).
    pub is_software: bool,
}

/// What memory is allocated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The compiled kernels.
    Kernels,
    /// A model's tables and activations.
    Model,
    /// A layer's weights.
    Layer(u32),
    /// The head's weights.
    Head,
    /// A new session's KV cache.
    Session(u128),
    /// An open session's longer KV cache.
    LongerCache(u128),
}

impl std::fmt::Display for Part {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kernels => formatter.write_str("the kernels"),
            Self::Model => formatter.write_str("a model's tables and activations"),
            Self::Layer(index) => write!(formatter, "the weights of layer {index}"),
            Self::Head => formatter.write_str("the head's weights"),
            Self::Session(id) => write!(formatter, "the KV cache of session {id:032x}"),
            Self::LongerCache(id) => write!(formatter, "a longer KV cache of session {id:032x}"),
        }
    }
}

/// Most bytes of weights in one piece of a matrix: far below the 128 MiB that every adapter binds.
pub(super) const MAX_PIECE_BYTES: usize = 64 << 20;

/// A device, its queue, and what it reported.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) handle: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) limits: wgpu::Limits,
    pub(super) info: GpuInfo,
    /// What the adapter's tuning is kept under.
    pub(super) key: String,
    faults: Faults,
    /// Checks of earlier allocations that the platform has not answered yet (browsers answer
    /// through the event loop). Bounded: every asynchronous call waits for them all.
    unanswered: Vec<Check>,
}

impl Device {
    /// Opens the best adapter there is.
    pub(super) async fn open(accept_software: bool) -> Result<Self, GpuError> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..wgpu::RequestAdapterOptions::default()
        };
        let adapter = instance
            .request_adapter(&options)
            .await
            .map_err(|error| GpuError::NoAdapter { reason: explain(&error) })?;
        let info = describe(&adapter.get_info());
        let key = tuning_key(&adapter.get_info());
        if info.is_software && !accept_software {
            return Err(GpuError::OnlySoftware { adapter: info.adapter });
        }
        let limits = adapter.limits();
        let (handle, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("potluck"),
                required_features: adapter.features() & wgpu::Features::SUBGROUP,
                // The defaults (128 MiB a binding) are less than most adapters offer.
                required_limits: limits.clone(),
                ..wgpu::DeviceDescriptor::default()
            })
            .await
            .map_err(|error| GpuError::NoDevice {
                adapter: info.adapter.clone(),
                reason: error.to_string(),
            })?;
        let faults = Faults::default();
        let lost = faults.clone();
        handle.set_device_lost_callback(move |reason, message| {
            lost.lose(format!("{reason:?}: {message}"))
        });
        let refused = faults.clone();
        // Without a handler an error that no scope catches is a panic.
        handle.on_uncaptured_error(Arc::new(move |error| refused.refuse(&error)));
        Ok(Self { handle, queue, limits, info, key, faults, unanswered: Vec::new() })
    }

    /// Whether kernels may compute within subgroups.
    pub(super) fn has_subgroups(&self) -> bool {
        self.handle.features().contains(wgpu::Features::SUBGROUP)
    }

    /// How kernels are best compiled here: with the workgroups that hardware likes, or small ones
    /// for a program, to which an invocation that waits at a barrier is a coroutine (`SwiftShader`
    /// encodes 1.5 times faster with 16 than with 256).
    pub(super) fn best_shaders(&self) -> Shaders {
        let most_invocations = if self.info.is_software { 16 } else { 256 };
        Shaders { most_invocations, subgroups: self.has_subgroups(), checked: false }
    }

    /// What is asked for, as far as it is possible here.
    pub(super) fn able(&self, asked: Shaders) -> Shaders {
        Shaders { subgroups: asked.subgroups && self.has_subgroups(), ..asked }
    }

    /// Most bytes of weights in one piece of a matrix.
    pub(super) fn piece_bytes(&self) -> usize {
        let bound =
            usize::try_from(self.limits.max_storage_buffer_binding_size).unwrap_or(usize::MAX);
        MAX_PIECE_BYTES.min(bound)
    }

    /// Runs `make`, which allocates, and fails if that ran out of memory or was refused.
    ///
    /// Natively the answer is there at once. In a browser it comes later: then `make`'s result is
    /// returned now and the failure by the next [`Device::await_allocations`].
    pub(super) fn allocate<T>(
        &mut self,
        part: Part,
        make: impl FnOnce(&wgpu::Device, &wgpu::Queue) -> T,
    ) -> Result<T, GpuError> {
        let validation = self.handle.push_error_scope(wgpu::ErrorFilter::Validation);
        let memory = self.handle.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let made = make(&self.handle, &self.queue);
        let mut failure = None;
        for answer in [Box::pin(memory.pop()) as Pin<Box<dyn Answer>>, Box::pin(validation.pop())] {
            let mut check = Check { part, answer };
            match check.answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(None) => {}
                Poll::Ready(Some(error)) => {
                    failure = failure.or(Some(name_error(&error, &part.to_string())))
                }
                Poll::Pending => self.unanswered.push(check),
            }
        }
        if failure.is_some() {
            // Natively a loss is reported only to somebody who polls, and only once what the device
            // took before is done.
            drop(self.handle.poll(wgpu::PollType::wait_indefinitely()));
        }
        // That the device is gone says more than what failed because of it.
        self.check()?;
        failure.map_or(Ok(made), Err)
    }

    /// Waits for the answers to earlier allocations; `failed` hears of every part that is not
    /// really there. Fails with the first bad answer.
    pub(super) async fn await_allocations(
        &mut self,
        mut failed: impl FnMut(Part),
    ) -> Result<(), GpuError> {
        let mut failure = None;
        // An answer stays in the list until it is here: this future may be dropped while it waits.
        while let Some(check) = self.unanswered.first_mut() {
            let answer = check.answer.as_mut().await;
            let part = self.unanswered.remove(0).part;
            if let Some(error) = answer {
                failed(part);
                failure = failure.or(Some(name_error(&error, &part.to_string())));
            }
        }
        self.check()?;
        failure.map_or(Ok(()), Err)
    }

    /// Fails if the device was lost, or refused something since the last check.
    pub(super) fn check(&self) -> Result<(), GpuError> {
        self.faults.check()
    }
}

/// What a tuning is kept under: a driver's update may change what is fastest.
fn tuning_key(info: &wgpu::AdapterInfo) -> String {
    format!("{:?} {} {} {}", info.backend, info.name, info.driver, info.driver_info)
}

/// People read this: the library's own words for "none" list every interface that was not compiled
/// in.
fn explain(error: &wgpu::RequestAdapterError) -> String {
    match error {
        wgpu::RequestAdapterError::NotFound { .. } => {
            "neither a browser's WebGPU nor a driver offers one".to_owned()
        }
        other => other.to_string(),
    }
}

/// Names that software adapters go by where the platform does not mark them.
const SOFTWARE_NAMES: [&str; 4] = ["swiftshader", "llvmpipe", "lavapipe", "microsoft basic render"];

fn describe(adapter: &wgpu::AdapterInfo) -> GpuInfo {
    let kind = match adapter.backend {
        wgpu::Backend::BrowserWebGpu => "webgpu",
        wgpu::Backend::Vulkan => "vulkan",
        wgpu::Backend::Metal => "metal",
        wgpu::Backend::Dx12 => "dx12",
        wgpu::Backend::Gl => "gl",
        wgpu::Backend::Noop => "noop",
    };
    let name = adapter.name.to_lowercase();
    let is_software = adapter.device_type == wgpu::DeviceType::Cpu
        || SOFTWARE_NAMES.iter().any(|software| name.contains(software));
    let adapter =
        if adapter.name.is_empty() { "unnamed adapter".to_owned() } else { adapter.name.clone() };
    GpuInfo { kind, adapter, is_software }
}

fn name_error(error: &wgpu::Error, what: &str) -> GpuError {
    match error {
        wgpu::Error::OutOfMemory { .. } => GpuError::OutOfMemory { what: what.to_owned() },
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            GpuError::Refused { reason: format!("{what}: {description}") }
        }
    }
}

/// The answer of an error scope, `Send` where the platform's is.
trait Answer: Future<Output = Option<wgpu::Error>> + wgpu::WasmNotSend {}

impl<T: Future<Output = Option<wgpu::Error>> + wgpu::WasmNotSend> Answer for T {}

struct Check {
    part: Part,
    answer: Pin<Box<dyn Answer>>,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Check").field("part", &self.part).finish_non_exhaustive()
    }
}

/// What the device's callbacks leave behind, at most one entry of each kind.
#[derive(Debug, Clone, Default)]
struct Faults(Arc<Mutex<FaultState>>);

#[derive(Debug, Default)]
struct FaultState {
    /// For good: a lost device does not come back.
    lost: Option<String>,
    /// The first refusal since the last check.
    refused: Option<GpuError>,
}

impl Faults {
    fn lose(&self, reason: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lost.get_or_insert(reason);
    }

    fn refuse(&self, error: &wgpu::Error) {
        let named = name_error(error, "outside any allocation");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).refused.get_or_insert(named);
    }

    fn check(&self) -> Result<(), GpuError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = &state.lost {
            return Err(GpuError::DeviceLost { reason: reason.clone() });
        }
        state.refused.take().map_or(Ok(()), Err)
    }
}
