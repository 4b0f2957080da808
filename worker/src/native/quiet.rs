//! Keeps Mesa from complaining on the terminal of everyone who joins.
//!
//! Its Vulkan layer that sorts adapters asks for a Wayland display, and where no runtime folder is
//! set (a server, a container, a service) libwayland prints that as an error, twice. Nothing here
//! shows a window, so a folder that does not exist says the same without a word.

use std::process::Command;

/// Where libwayland looks for a display.
const RUNTIME_FOLDER: &str = "XDG_RUNTIME_DIR";
/// Debian's name for a folder that never exists; a real one could hold somebody else's socket.
const NOWHERE: &str = "/nonexistent";

/// Starts this program once more, in the same process, with a runtime folder set where there is
/// none. A variable can only be set safely before a program starts, as any thread may read it.
///
/// Returns where nothing needs to be done, or where it cannot be done; the complaint is harmless.
pub(super) fn with_runtime_folder() {
    if !cfg!(target_os = "linux") || std::env::var_os(RUNTIME_FOLDER).is_some() {
        return;
    }
    #[cfg(unix)]
    if let Ok(program) = std::env::current_exe() {
        use std::os::unix::process::CommandExt as _;
        let mut arguments = std::env::args_os();
        let mut again = Command::new(program);
        if let Some(name) = arguments.next() {
            again.arg0(name);
        }
        // Only returns if it failed.
        let _ = again.args(arguments).env(RUNTIME_FOLDER, NOWHERE).exec();
    }
}
