//! Bringing results from the device to the CPU: one buffer, one map a call. The only place of the
//! GPU code that differs between platforms: natively somebody must drive the device, in a browser
//! the event loop does.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::GpuError;

/// Buffers that the device copies results into and the CPU maps, one for every call under way.
///
/// A call takes one and puts it back at the end; if the call's future is dropped half-way, the
/// buffer (which may be mapped at any moment from then on) goes with it and another call makes a
/// new one.
#[derive(Debug, Default)]
pub(super) struct Ring {
    free: VecDeque<wgpu::Buffer>,
}

/// Buffers that are kept: calls under way at once, beyond which a device is busy enough.
const KEPT: usize = 4;

impl Ring {
    /// A buffer of at least `size_bytes`: a kept one if it is big enough.
    pub(super) fn take(&mut self, device: &wgpu::Device, size_bytes: u64) -> wgpu::Buffer {
        let big_enough = self.free.iter().position(|buffer| buffer.size() >= size_bytes);
        big_enough
            .and_then(|at| self.free.remove(at))
            .unwrap_or_else(|| staging(device, size_bytes))
    }

    /// Keeps a buffer that was read and unmapped; of too many, the one that was kept first goes,
    /// which small calls left.
    pub(super) fn put_back(&mut self, buffer: wgpu::Buffer) {
        self.free.push_back(buffer);
        if self.free.len() > KEPT {
            self.free.pop_front();
        }
    }
}

/// A buffer for results.
pub(super) fn staging(device: &wgpu::Device, size_bytes: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("read back"),
        size: size_bytes,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// Waits for a submission and returns the first `count` values of `buffer`, unmapped again.
///
/// Natively this blocks the calling thread until the device is done; in a browser it yields to the
/// event loop.
pub(super) async fn read(
    device: &wgpu::Device,
    buffer: &wgpu::Buffer,
    count: usize,
    submission: wgpu::SubmissionIndex,
) -> Result<Vec<i32>, GpuError> {
    let range = 0..(count as u64) * 4;
    let cell = Arc::new(Mutex::new(Cell::default()));
    let filler = Arc::clone(&cell);
    buffer.map_async(wgpu::MapMode::Read, range.clone(), move |result| {
        let mut cell = filler.lock().unwrap_or_else(PoisonError::into_inner);
        cell.result = Some(result);
        if let Some(waker) = cell.waker.take() {
            waker.wake();
        }
    });
    drive(device, submission)?;
    Mapped(cell).await.map_err(|error| GpuError::ReadBack { reason: error.to_string() })?;
    let values = {
        let view = buffer
            .get_mapped_range(range)
            .map_err(|error| GpuError::ReadBack { reason: error.to_string() })?;
        bytemuck::pod_collect_to_vec::<u8, i32>(&view)
    };
    buffer.unmap();
    Ok(values)
}

#[cfg(not(target_arch = "wasm32"))]
fn drive(device: &wgpu::Device, submission: wgpu::SubmissionIndex) -> Result<(), GpuError> {
    let waited =
        device.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: None });
    waited.map(|_| ()).map_err(|error| {
        // A lost device takes no submission, and says that it is lost once what it took before is
        // done.
        drop(device.poll(wgpu::PollType::wait_indefinitely()));
        GpuError::ReadBack { reason: error.to_string() }
    })
}

#[cfg(target_arch = "wasm32")]
#[expect(clippy::unnecessary_wraps, reason = "the native twin can fail")]
fn drive(_device: &wgpu::Device, _submission: wgpu::SubmissionIndex) -> Result<(), GpuError> {
    Ok(())
}

/// What the callback of a map leaves for the future that waits for it.
#[derive(Default)]
struct Cell {
    result: Option<Result<(), wgpu::BufferAsyncError>>,
    waker: Option<Waker>,
}

struct Mapped(Arc<Mutex<Cell>>);

impl Future for Mapped {
    type Output = Result<(), wgpu::BufferAsyncError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut cell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match cell.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                cell.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
