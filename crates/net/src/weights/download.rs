//! One download: asks, goes on after a break, stops at the limit.
//!
//! It hashes what comes in passing but does not know which hash is the right one.

use core::pin::pin;

use futures::future::{Either, select};

use super::{FetchError, HttpError, Patience};
use crate::platform;

/// What is known of a size before it is here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Size {
    Exactly(u64),
    AtMost(u64),
}

impl Size {
    pub(super) fn limit(self) -> u64 {
        match self {
            Self::Exactly(bytes) | Self::AtMost(bytes) => bytes,
        }
    }

    pub(super) fn fits(self, bytes: u64) -> bool {
        match self {
            Self::Exactly(expected) => bytes == expected,
            Self::AtMost(limit) => bytes <= limit,
        }
    }
}

/// What is here of a download.
pub(super) struct Download {
    pub(super) url: String,
    size: Size,
    patience: Patience,
    pub(super) bytes: Vec<u8>,
    pub(super) hasher: blake3::Hasher,
}

/// Why an attempt ended early.
enum Break {
    /// Worth another try.
    Again(FetchError),
    /// Not.
    Final(FetchError),
}

impl Download {
    pub(super) fn new(url: String, size: Size, patience: Patience) -> Self {
        Self { url, size, patience, bytes: Vec::new(), hasher: blake3::Hasher::new() }
    }

    fn here(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) async fn run(&mut self, progress: &mut impl FnMut(u64)) -> Result<(), FetchError> {
        let mut breaks = 0;
        loop {
            let before = self.here();
            let error = match self.attempt(progress).await {
                Ok(()) => return Ok(()),
                Err(Break::Final(error)) => return Err(error),
                Err(Break::Again(error)) => error,
            };
            breaks = if self.here() > before { 1 } else { breaks + 1 };
            if breaks >= self.patience.breaks {
                return Err(error);
            }
            tracing::debug!(%error, breaks, here = self.here(), "a download broke and goes on");
            platform::sleep(self.patience.first_wait * (1 << (breaks - 1).min(10))).await;
        }
    }

    /// Asks for what is missing and takes it until the end or a break.
    async fn attempt(&mut self, progress: &mut impl FnMut(u64)) -> Result<(), Break> {
        if matches!(self.size, Size::Exactly(expected) if expected > 0 && expected == self.here()) {
            return Ok(()); // it broke after its last byte
        }
        let url = self.url.clone();
        let from = self.here();
        let mut body = self.in_time(platform::get(&url, from)).await?;
        match body.status {
            200 => self.restart(), // all of it, whether asked for or not
            206 if starts_at(body.content_range.as_deref(), from) => {}
            // Another range than the one asked for: all of it again.
            206 => {
                self.restart();
                return Err(self.again("the server sent another range".to_owned()));
            }
            status @ (408 | 429 | 500..) => {
                return Err(Break::Again(FetchError::Status { url: self.url.clone(), status }));
            }
            status => {
                return Err(Break::Final(FetchError::Status { url: self.url.clone(), status }));
            }
        }
        if let Some(rest) = body.content_length {
            self.expect(self.here().saturating_add(rest))?;
        }
        progress(self.here());
        let announced = body.content_length.map(|rest| self.here() + rest);
        while let Some(part) = self.in_time(body.next_part()).await? {
            let part: &[u8] = part.as_ref();
            if self.here() + part.len() as u64 > self.size.limit() {
                return Err(Break::Final(self.too_long()));
            }
            self.hasher.update(part);
            self.bytes.extend_from_slice(part);
            progress(self.here());
        }
        match (self.size, announced) {
            (Size::Exactly(expected), _) | (Size::AtMost(_), Some(expected))
                if self.here() < expected =>
            {
                Err(self.again(format!("it broke off after {} of {expected} bytes", self.here())))
            }
            _ => Ok(()),
        }
    }

    /// Checks the size that the server announces, and makes room for it.
    fn expect(&mut self, whole: u64) -> Result<(), Break> {
        match self.size {
            Size::Exactly(expected) if whole != expected => {
                return Err(Break::Final(FetchError::WrongSize {
                    url: self.url.clone(),
                    expected,
                    got: whole,
                }));
            }
            Size::AtMost(limit) if whole > limit => return Err(Break::Final(self.too_long())),
            _ => {}
        }
        let missing = usize::try_from(whole - self.here()).unwrap_or(usize::MAX);
        // In one piece: growing by doubling would need up to three times the memory, which a tab
        // does not have.
        self.bytes
            .try_reserve_exact(missing)
            .map_err(|_| Break::Final(FetchError::NoMemory { size_bytes: whole }))
    }

    fn restart(&mut self) {
        self.bytes.clear();
        self.hasher.reset();
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, HttpError>>,
    ) -> Result<T, Break> {
        match select(pin!(work), pin!(platform::sleep(self.patience.stall))).await {
            Either::Left((Ok(done), _)) => Ok(done),
            Either::Left((Err(HttpError::Connection(reason)), _)) => Err(self.again(reason)),
            Either::Left((Err(error), _)) => Err(Break::Final(FetchError::Connection {
                url: self.url.clone(),
                reason: error.to_string(),
            })),
            Either::Right(_) => {
                Err(self.again(format!("nothing came for {} s", self.patience.stall.as_secs_f32())))
            }
        }
    }

    fn again(&self, reason: String) -> Break {
        Break::Again(FetchError::Connection { url: self.url.clone(), reason })
    }

    fn too_long(&self) -> FetchError {
        FetchError::TooLong { url: self.url.clone(), limit: self.size.limit() }
    }
}

/// True for `bytes FROM-…`, and for no word at all: a browser hides this header of another origin,
/// and the hash will tell.
fn starts_at(content_range: Option<&str>, from: u64) -> bool {
    let Some(range) = content_range else { return true };
    let first = range.trim().strip_prefix("bytes ").and_then(|range| range.split('-').next());
    first.and_then(|first| first.trim().parse().ok()) == Some(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert!(starts_at(Some("bytes 100-199/200"), 100));
        assert!(!starts_at(Some("bytes 0-199/200"), 100));
        assert!(!starts_at(Some("100-199"), 100));
        assert!(starts_at(None, 100));
    }
}
