//! Child processes that end when their owner does, and with them exactly what they started
//! themselves.
//!
//! Each child leads a process group of its own, so that a browser's many helpers go with its
//! driver. Groups are ended when the value is dropped (on panic too) and when this process is told
//! to stop (Ctrl-C, SIGTERM); only SIGKILL of this process can leave some behind.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

/// How long a process may take to end by itself once asked; a server writes its last receipts in
/// that time.
const GRACE: Duration = Duration::from_secs(3);

/// The exit status of a program ended by Ctrl-C, as shells count it.
const INTERRUPTED: i32 = 130;

/// A running child process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Pid,
    /// The group's number may belong to somebody else by now.
    ended: bool,
}

/// Where a child's output goes.
#[derive(Debug)]
pub enum Output<'a> {
    /// Both streams into one file, which is made anew.
    Log(&'a Path),
    /// Both streams to be read by the owner.
    Piped,
}

impl Process {
    /// Starts a program.
    ///
    /// # Errors
    /// If the log cannot be written or the program not started.
    pub fn start(program: &Path, arguments: &[&OsStr], output: Output<'_>) -> anyhow::Result<Self> {
        end_children_when_told_to_stop();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        match output {
            Output::Log(path) => {
                let log = File::create(path)
                    .with_context(|| format!("{} could not be written", path.display()))?;
                command.stdout(log.try_clone()?).stderr(log);
            }
            Output::Piped => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
        }
        let mut owned = registry();
        let child = command
            .spawn()
            .with_context(|| format!("{} could not be started", program.display()))?;
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
            .context("the process ended before it was looked at")?;
        owned.groups.insert(group.as_raw_nonzero().get());
        drop(owned);
        Ok(Self { child, group, ended: false })
    }

    /// The piped stdout, once.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The piped stderr, once.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Its number in the system, which is also its group's.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends by itself; true if its exit status is success.
    ///
    /// # Errors
    /// If the system does not report its end.
    pub async fn wait(&mut self) -> anyhow::Result<bool> {
        Ok(self.exit_code().await? == Some(0))
    }

    /// Waits until it ends by itself; its exit status, if it was no signal that ended it.
    ///
    /// # Errors
    /// If the system does not report its end.
    pub async fn exit_code(&mut self) -> anyhow::Result<Option<i32>> {
        let status = self.child.wait().await?;
        self.ended = true;
        Ok(status.code())
    }

    /// Sends it what Ctrl-C sends, and does not wait.
    pub fn interrupt(&self) {
        signal(self.group, Signal::INT);
    }

    /// Ends it and what it started, at once and without warning, as a crash would; returns when its
    /// ports are free again.
    ///
    /// # Errors
    /// If the system does not report that it ended.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if !self.ended {
            signal(self.group, Signal::KILL);
            self.wait().await?;
        }
        Ok(())
    }

    /// Stops it and what it started for so long, as a closed lid does, or a virtual machine that
    /// moves: nothing of it runs, and its connections stay.
    pub async fn pause(&self, time: Duration) {
        signal(self.group, Signal::STOP);
        tokio::time::sleep(time).await;
        signal(self.group, Signal::CONT);
    }

    /// Asks it to end, and insists after a while.
    ///
    /// # Errors
    /// If the system does not report that it ended.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if !self.ended {
            signal(self.group, Signal::TERM);
            if timeout(GRACE, self.wait()).await.is_err() {
                self.kill().await?;
            }
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            signal(self.group, Signal::KILL);
        }
        registry().groups.remove(&self.group.as_raw_nonzero().get());
    }
}

/// A folder that is removed when its owner is dropped, or when this process is told to stop.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one in the system's folder for temporary files.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        let path = tempfile::Builder::new()
            .prefix("potluck-")
            .tempdir()
            .context("no temporary folder")?
            .keep();
        registry().folders.insert(path.clone());
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove_folder(&self.0);
        registry().folders.remove(&self.0);
    }
}

/// What this process must end and remove.
#[derive(Debug, Default)]
struct Registry {
    groups: BTreeSet<i32>,
    folders: BTreeSet<PathBuf>,
}

static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { groups: BTreeSet::new(), folders: BTreeSet::new() });

fn registry() -> MutexGuard<'static, Registry> {
    // The sets stay whole whoever panics while holding them.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn signal(group: Pid, signal: Signal) {
    // An error means that the whole group is gone already.
    let _ = kill_process_group(group, signal);
}

fn remove_folder(path: &Path) {
    // A killed browser's helpers may still be writing for a moment.
    for _ in 0..20 {
        if fs::remove_dir_all(path).is_ok() || !path.exists() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// From a thread and runtime of its own, because every test has its own runtime and a demo may be
/// busy.
fn end_children_when_told_to_stop() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        thread::spawn(|| {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build()
            else {
                return;
            };
            if runtime.block_on(told_to_stop()).is_ok() {
                end_everything();
                std::process::exit(INTERRUPTED);
            }
        });
    });
}

async fn told_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate, mut hang_up) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    );
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

fn end_everything() {
    // Held until the process exits, so that nothing new can start meanwhile.
    let owned = registry();
    for group in owned.groups.iter().filter_map(|group| Pid::from_raw(*group)) {
        signal(group, Signal::TERM);
    }
    if !owned.groups.is_empty() {
        thread::sleep(Duration::from_millis(300));
    }
    for group in owned.groups.iter().filter_map(|group| Pid::from_raw(*group)) {
        signal(group, Signal::KILL);
    }
    for folder in &owned.folders {
        remove_folder(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_child_started_ends_with_it() {
        let folder = Folder::new().unwrap();
        let pid_file = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid_file.display());
        let shell = Path::new("/bin/sh");
        let process =
            Process::start(shell, &["-c".as_ref(), script.as_ref()], Output::Piped).unwrap();
        let grandchild = crate::wait::until("the grandchild's number", async || {
            Ok(fs::read_to_string(&pid_file)
                .unwrap_or_default()
                .trim()
                .parse::<i32>()
                .map_err(|error| error.to_string()))
        })
        .await
        .unwrap();
        drop(process);
        let state = || {
            let stat = fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
            stat.rsplit(") ").next().and_then(|rest| rest.chars().next())
        };
        crate::wait::until("the grandchild to be gone", async || {
            // Gone, or dead and not yet collected by init.
            Ok(if matches!(state(), None | Some('Z' | 'X')) { Ok(()) } else { Err(state()) })
        })
        .await
        .unwrap();
    }

    #[test]
    fn folders_go_with_their_owner() {
        let folder = Folder::new().unwrap();
        let path = folder.path().to_owned();
        fs::write(path.join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
