//! What the server signs, so that others can show it to this same server later: leases of layers
//! and tickets of sessions.
//!
//! Its key is a file in the data folder. Whoever has it can write himself leases and tickets, so it
//! is readable for the server's own user only.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use potluck_protocol::id::{LayerRange, ModelId, NodeId};
use potluck_protocol::identity::Identity;
use potluck_protocol::lease::{Lease, SignedLease};
use potluck_protocol::server::{Session, Stage};
use potluck_protocol::ticket::{SignedTicket, Ticket};

/// Where the key is, in the data folder.
const KEY_FILE: &str = "server.key";
/// How long a lease holds: a server that was away for a day finds another swarm anyway.
pub(crate) const LEASE: Duration = Duration::from_secs(24 * 3600);
/// How long a stage may hand in receipts of a session after its opening: the longest answer, and a
/// server that is away for a day after it.
const TICKET: Duration = Duration::from_secs(48 * 3600);

/// The server's key, and what time it is.
#[derive(Debug)]
pub struct Authority {
    identity: Identity,
    /// Time since 1970 when `now` was zero.
    start: Duration,
}

impl Authority {
    /// Signs as `identity`; `start` is the time since 1970 from which every `now` is counted.
    #[must_use]
    pub fn new(identity: Identity, start: Duration) -> Self {
        Self { identity, start }
    }

    /// With the key of the data folder, which is made if there is none, and with `now` counted from
    /// now on.
    pub(crate) fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self::new(Identity::from_seed(&load_or_create(&data_dir.join(KEY_FILE))?), start))
    }

    /// Whose word leases and tickets are.
    #[must_use]
    pub fn server(&self) -> NodeId {
        self.identity.node()
    }

    /// Time since 1970 at `now`.
    #[must_use]
    pub fn unix_time(&self, now: Duration) -> Duration {
        self.start + now
    }

    /// The lease of `layers` to `node` from `now` on, at the latest until `granted_s`, seconds since
    /// 1970: when its volunteer's grant ends.
    #[must_use]
    pub fn lease(
        &self,
        node: NodeId,
        model: ModelId,
        layers: LayerRange,
        granted_s: u64,
        now: Duration,
    ) -> SignedLease {
        let until_s = (self.unix_time(now) + LEASE).as_secs().min(granted_s);
        SignedLease::new(&self.identity, Lease { node, model, layers, until_s })
    }

    /// The ticket of `stage` for a session that opens at `now`.
    #[must_use]
    pub fn ticket(
        &self,
        session: &Session,
        stage: &Stage,
        earns: bool,
        now: Duration,
    ) -> SignedTicket {
        let opened = self.unix_time(now);
        let ticket = Ticket {
            session: session.id,
            model: session.model,
            requester: session.requester,
            stage: stage.node,
            layers: stage.layers,
            opened_ms: u64::try_from(opened.as_millis()).unwrap_or(u64::MAX),
            until_s: (opened + TICKET).as_secs(),
            earns,
            continues: session.continues.is_some(),
        };
        SignedTicket::new(&self.identity, ticket)
    }
}

/// The key in the file. Only a file that is not there is made: one that cannot be read may hold the
/// key under which leases and tickets are out.
fn load_or_create(path: &Path) -> anyhow::Result<[u8; 32]> {
    let what = || format!("this server's key in {}", path.display());
    match std::fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|bytes: Vec<u8>| {
            anyhow::anyhow!(
                "{} has {} bytes instead of 32: put the right file back, or remove it, which makes \
                 every lease and every receipt that is still on its way worthless",
                what(),
                bytes.len()
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).context("this system has no randomness")?;
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            {
                use std::os::unix::fs::OpenOptionsExt as _;
                options.mode(0o600);
            }
            let mut file =
                options.open(path).with_context(|| format!("could not write {}", what()))?;
            file.write_all(&key)
                .and_then(|()| file.sync_all())
                .with_context(|| format!("could not write {}", what()))?;
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| format!("could not read {}", what())),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;

    /// One whose time begins on a certain day of 2026.
    pub(crate) fn authority() -> Arc<Authority> {
        let start = Duration::from_secs(1_790_000_000);
        Arc::new(Authority::new(Identity::from_seed(&[0xa0; 32]), start))
    }

    #[test]
    fn a_key_is_made_once_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::open(folder.path()).unwrap();
        let second = Authority::open(folder.path()).unwrap();
        assert_eq!(first.server(), second.server());
        let path = folder.path().join(KEY_FILE);
        std::fs::write(&path, b"short").unwrap();
        let error = Authority::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("5 bytes instead of 32"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"short");
    }
}
