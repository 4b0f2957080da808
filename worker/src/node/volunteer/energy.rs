//! What lending costs in energy, estimated: the time that the engine computed, times a power that
//! is assumed of what it computed on. No page can measure it, and few programs can.
//!
//! The powers are what computing adds to a machine that is on anyway: middles of a wide range, and
//! more rather than less. See `docs/kindness.md`.

use std::time::Duration;

use crate::node::Device;

/// One processor thread that is busy, watts: a laptop's adds 8 to 15, a desktop's 10 to 25.
const PROCESSOR_THREAD_WATTS: u64 = 12;
/// A graphics processor that is busy, watts: one inside a processor adds 10 to 30, a card of its own
/// 75 to 300. Browsers do not say which it is.
const GRAPHICS_WATTS: u64 = 60;
/// A watt for a microsecond is a microjoule; so many of them are a milliwatt-hour.
const MICROJOULES_PER_MILLIWATT_HOUR: u64 = 3_600_000;

/// The estimate since lending began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Energy {
    microjoules: u64,
}

impl Energy {
    /// The engine computed for so long.
    pub(super) fn record(&mut self, device: Device, computed: Duration) {
        let watts = match device {
            Device::Processor { threads, cores: _ } => {
                PROCESSOR_THREAD_WATTS.saturating_mul(u64::from(threads.max(1)))
            }
            Device::Graphics => GRAPHICS_WATTS,
        };
        let us = u64::try_from(computed.as_micros()).unwrap_or(u64::MAX);
        self.microjoules = self.microjoules.saturating_add(us.saturating_mul(watts));
    }

    pub(super) fn milliwatt_hours(&self) -> u64 {
        self.microjoules / MICROJOULES_PER_MILLIWATT_HOUR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processor(threads: u32) -> Device {
        Device::Processor { threads, cores: 8 }
    }

    fn after(device: Device, computed: Duration) -> u64 {
        let mut energy = Energy::default();
        energy.record(device, computed);
        energy.milliwatt_hours()
    }

    #[test]
    fn an_hour_of_computing_is_the_assumed_power() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(after(processor(1), hour), 12_000);
        assert_eq!(after(processor(4), hour), 48_000);
        assert_eq!(after(Device::Graphics, hour), 60_000);
    }

    #[test]
    fn many_short_steps_are_as_much_as_a_long_one() {
        let mut energy = Energy::default();
        for _ in 0..3_600_000 {
            energy.record(processor(0), Duration::from_micros(100));
        }
        assert_eq!(energy.milliwatt_hours(), 1_200, "a tenth of an hour");
        energy.record(Device::Graphics, Duration::MAX);
        assert_eq!(energy.milliwatt_hours(), u64::MAX / MICROJOULES_PER_MILLIWATT_HOUR);
    }
}
