//! What a process takes, as Linux counts it.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory that is in use now, bytes (`VmRSS`).
///
/// # Errors
/// If there is no such process, or no `/proc`.
pub fn memory_bytes(pid: u32) -> anyhow::Result<u64> {
    status_kilobytes(pid, "VmRSS:").map(|kilobytes| kilobytes * 1024)
}

/// The most memory that was in use at once, bytes (`VmHWM`).
///
/// # Errors
/// If there is no such process, or no `/proc`.
pub fn peak_memory_bytes(pid: u32) -> anyhow::Result<u64> {
    status_kilobytes(pid, "VmHWM:").map(|kilobytes| kilobytes * 1024)
}

/// Open files, sockets included.
///
/// # Errors
/// If there is no such process, or no `/proc`.
pub fn open_files(pid: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd")).context("the process has ended")?.count())
}

/// Processor time since the process began, of all its threads, in user and system.
///
/// # Errors
/// If there is no such process, or no `/proc`.
pub fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process has ended")?;
    let ticks = processor_ticks(&text).context("/proc/PID/stat is not as proc(5) says")?;
    Ok(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second())?)
}

/// The processor's name, and how many cores of it there are here.
#[must_use]
pub fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let name = name.map_or("an unnamed processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{name}, {cores} cores")
}

/// Lets this process, and those it starts, have so many files open, sockets included.
///
/// # Errors
/// If the system does not allow it, with what to do.
pub fn allow_open_files(count: u64) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(count));
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum })
        .with_context(|| format!("{count} open files are not allowed; raise `ulimit -Hn`"))
}

fn status_kilobytes(pid: u32, field: &str) -> anyhow::Result<u64> {
    let text =
        fs::read_to_string(format!("/proc/{pid}/status")).context("the process has ended")?;
    kilobytes(&text, field).with_context(|| format!("/proc/{pid}/status has no {field}"))
}

fn kilobytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Fields 14 and 15; the second one, the program's name, may hold blanks and parentheses.
fn processor_ticks(stat: &str) -> Option<u64> {
    let mut after_name = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let [user, system] = [after_name.next()?, after_name.next()?].map(str::parse::<u64>);
    Some(user.ok()? + system.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_its_manual_says() {
        assert_eq!(
            kilobytes("Name:\tx\nVmHWM:\t  1204 kB\nVmRSS:\t 800 kB\n", "VmRSS:"),
            Some(800)
        );
        assert_eq!(kilobytes("VmRSS:\t 800 kB\n", "VmHWM:"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 500 0 0 0 31 11 0 0 20 0 1 0 100 0 0";
        assert_eq!(processor_ticks(stat), Some(42));
        assert_eq!(processor_ticks("7 (a"), None);
    }

    #[test]
    fn this_process_takes_something() {
        let me = std::process::id();
        assert!(memory_bytes(me).unwrap() <= peak_memory_bytes(me).unwrap());
        assert!(open_files(me).unwrap() > 2);
        assert!(processor_time(me).is_ok());
    }
}
