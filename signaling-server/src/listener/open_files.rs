//! What the operating system is asked for: open files enough, and an end of connections whose other
//! side is gone.

use std::time::Duration;

use tokio::net::TcpStream;

/// Files that are open besides connections: database, blobs being read, the runtime's own.
#[cfg(unix)]
const OTHER_FILES: u64 = 256;

/// Raises the limit of open files as far as this process may, and says so if it is too low for
/// `connections` of them.
#[cfg(unix)]
pub(crate) fn provide_for(connections: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where even this is forbidden, the sentence below says what follows.
    let _ = setrlimit(Resource::Nofile, limit);
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    if allowed < wanted {
        tracing::warn!(
            "this process may open {allowed} files, and takes up to {connections} connections: raise \
             the limit (`ulimit -n`, or LimitNOFILE= of the service) to {wanted}, or lower \
             --max-connections and --max-http-connections"
        );
    }
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub(crate) fn provide_for(_connections: usize) {}

/// Ends a connection whose other side acknowledges nothing for so long: a page in a tunnel, or one
/// whose computer was switched off. Elsewhere than on Linux the system's own patience counts.
pub(super) fn give_up_after(stream: &TcpStream, patience: Duration) {
    #[cfg(target_os = "linux")]
    {
        let patience_ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        // Without it the connection ends as well, later.
        let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, patience_ms);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, patience);
}
