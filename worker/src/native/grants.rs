//! The grant that is kept beside the node's key. A yes counts until it ends, so that a machine that is
//! started anew goes on without anybody there, and no longer than that.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use potluck_protocol::consent::{Line, date, words};
use potluck_protocol::grant::{Grant, SignedGrant, Terms};
use potluck_protocol::id::NodeId;
use potluck_protocol::invitation::Invitation;

/// Where a grant to one server is kept.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    path: PathBuf,
}

/// Longer than any grant as JSON; what is longer is none.
const MAX_FILE_BYTES: u64 = 64 * 1024;

impl Kept {
    /// The one for the server of this origin, or for a room there, in the node's folder.
    pub(super) fn of(folder: &Path, origin: &str, room: Option<Invitation>) -> Self {
        // Readable names; the grant itself says which server it is for, and in a room the node is
        // another.
        let mut name: String =
            origin.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        if let Some(room) = room {
            name.push_str("-room-");
            name.push_str(&room.room().to_string());
        }
        Self { path: folder.join(format!("grant-{name}.json")) }
    }

    /// The grant, if there is one that can be read.
    pub(super) fn read(&self) -> Option<SignedGrant> {
        let size = std::fs::metadata(&self.path).ok()?.len();
        let text = (size <= MAX_FILE_BYTES).then(|| std::fs::read(&self.path).ok())??;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps a grant in place of the one before. Only its owner can read the file.
    pub(super) fn write(&self, grant: &SignedGrant) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(grant)?;
        let aside = self.path.with_extension(format!("part-{}", std::process::id()));
        // What a process with this number left behind, if one did.
        let _ = std::fs::remove_file(&aside);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut file = options.open(&aside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&aside, &self.path)
    }

    /// Forgets it. False if there was none.
    pub(super) fn remove(&self) -> io::Result<bool> {
        match std::fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn is_there(&self) -> bool {
        self.path.exists()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// What a command to lend is worth.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// An earlier yes counts still.
    Again(Box<SignedGrant>),
    /// The person said yes just now.
    Yes,
    /// The person has to be asked.
    Ask {
        /// Why the yes that is kept does not count, if one is.
        because: Option<String>,
    },
}

/// Whether the node may lend on `terms` to the server `to`: the person `accepts`, or has done so
/// before on the same terms, in a grant that holds still.
pub(super) fn decide(
    accepts: bool,
    kept: Option<SignedGrant>,
    terms: &Terms,
    (node, to): (NodeId, &str),
    now_s: u64,
) -> Decision {
    if accepts {
        return Decision::Yes;
    }
    let Some(kept) = kept else { return Decision::Ask { because: None } };
    let because = match kept.check(to, node, now_s) {
        Err(fault) => {
            format!("You agreed on {}, but {fault}.", date(kept.grant.given_s))
        }
        Ok(()) if kept.grant.limits != terms.limits || kept.grant.models != terms.models => {
            format!("On {} you agreed to something else.", date(kept.grant.given_s))
        }
        Ok(()) => return Decision::Again(Box::new(kept)),
    };
    Decision::Ask { because: Some(because) }
}

/// What a grant says, a line each.
pub(super) fn lines(grant: &Grant) -> Vec<String> {
    words(grant).into_iter().map(|Line { about, says }| format!("  {about}: {says}")).collect()
}

#[cfg(test)]
mod tests {
    use potluck_protocol::grant::{DAY_S, GrantFault, Limits, Place};
    use potluck_protocol::identity::Identity;

    use super::*;

    const SERVER: &str = "http://127.0.0.1:8080";
    const NOW_S: u64 = 1_790_000_000;

    fn me() -> Identity {
        Identity::from_seed(&[1; 32])
    }

    fn terms() -> Terms {
        Terms { place: Place::Native, limits: Limits::native(), days: 30, ..Terms::default() }
    }

    fn kept() -> SignedGrant {
        SignedGrant::new(&me(), terms().grant(me().node(), SERVER.to_owned(), NOW_S))
    }

    fn decided(kept: SignedGrant, now_s: u64) -> Decision {
        decide(false, Some(kept), &terms(), (me().node(), SERVER), now_s)
    }

    #[test]
    fn a_yes_counts_until_it_ends_and_for_what_was_asked() {
        let nobody = decide(false, None, &terms(), (me().node(), SERVER), NOW_S);
        assert_eq!(nobody, Decision::Ask { because: None });
        assert_eq!(decide(true, None, &terms(), (me().node(), SERVER), NOW_S), Decision::Yes);
        assert_eq!(decided(kept(), NOW_S + 30 * DAY_S - 1), Decision::Again(Box::new(kept())));
        let asked = |decision| match decision {
            Decision::Ask { because: Some(because) } => because,
            other => panic!("{other:?}"),
        };
        let ended = asked(decided(kept(), NOW_S + 30 * DAY_S));
        assert!(ended.contains(&GrantFault::Ended.to_string()), "{ended}");
        let mut forged = kept();
        forged.grant.limits.gpu_percent = 1;
        assert!(asked(decided(forged, NOW_S)).contains(&GrantFault::NotSigned.to_string()));
        let less = Terms { limits: Limits { gpu_percent: 50, ..Limits::native() }, ..terms() };
        let other = decide(false, Some(kept()), &less, (me().node(), SERVER), NOW_S);
        assert!(asked(other).contains("something else"));
        let elsewhere = decide(false, Some(kept()), &terms(), (me().node(), "http://b"), NOW_S);
        assert!(asked(elsewhere).contains(&GrantFault::OtherServer.to_string()));
    }

    #[test]
    fn a_kept_grant_reads_back_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let place = Kept::of(folder.path(), SERVER, None);
        assert!(!place.is_there() && place.read().is_none() && !place.remove().unwrap());
        place.write(&kept()).unwrap();
        place.write(&kept()).unwrap();
        assert_eq!(place.read(), Some(kept()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-written");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(place.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::write(place.path(), b"{").unwrap();
        assert_eq!(place.read(), None);
        std::fs::write(place.path(), vec![b' '; 65 * 1024]).unwrap();
        assert_eq!(place.read(), None);
        assert!(place.remove().unwrap() && !place.is_there());
    }
}
