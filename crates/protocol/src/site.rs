//! Sites that show the widget: what their owners ask of the server, and what it tells of them.
//!
//! An owner is an Ed25519 key that their browser made, as a node is, or a passkey, or both; there is no
//! password. Every task is a text that a key signed, so that nothing is kept that could be stolen from
//! the server: the key of a recovery file, or one that a passkey vouches for ([`crate::passkey`]).
//!
//! ```text
//! POST /api/v1/sites/tasks   SignedTask{owner, text: TaskText as JSON, signature}  ->  TaskAnswer
//! GET  /api/v1/sites         -> a list of SiteView: those whose widget runs, for everybody
//! ```

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, SiteKey};
use crate::identity::{Identity, Purpose, is_signed};
use crate::name;
use crate::passkey::NewPasskey;

/// Letters of a site's name at most: one line at 200 px is about half of it.
pub const MAX_NAME_LETTERS: usize = 40;
/// Origins of a site at most: a name with and without `www`, and its languages.
pub const MAX_ORIGINS: usize = 8;
/// Bytes of an origin at most: the longest name of a host, and what stands around it.
pub const MAX_SITE_ORIGIN_BYTES: usize = 270;
/// Where a site proves that it is its owner's, or in `<meta name="potluck-site">` of its front page.
pub const PROOF_PATH: &str = "/.well-known/potluck-site.txt";

/// A task with its owner's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTask {
    /// The key that signed: the owner's own, or one that stands for it.
    pub owner: NodeId,
    /// A [`TaskText`] as JSON, byte for byte as it was signed.
    pub text: String,
    /// 128 hexadecimal digits, over `text`.
    pub signature: String,
}

/// What an owner signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskText {
    /// Origin of the server that is to do it, so that no other can pass it on.
    pub to: String,
    /// When it was signed, seconds since 1970.
    pub at_s: u64,
    /// Drawn anew for every task: none is done twice.
    pub nonce: String,
    /// What is to be done.
    pub task: Task,
    /// Whose account it is for, if that is to be sure: another's is not taken for it when a passkey's
    /// time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<NodeId>,
}

/// What an owner can have the server do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Tell of all sites of this owner.
    List,
    /// Take up a site; its key is in the answer.
    Register {
        /// What visitors read, at most [`MAX_NAME_LETTERS`].
        name: String,
        /// Where its pages are, such as `https://recipes.example`; at most [`MAX_ORIGINS`].
        origins: Vec<String>,
    },
    /// Look whether the origins carry the key.
    Check {
        /// The site.
        site: SiteKey,
    },
    /// Switch the widget on or off, at once.
    Switch {
        /// The site.
        site: SiteKey,
        /// Whether it may run.
        on: bool,
    },
    /// Forget the site and its counts.
    Remove {
        /// The site.
        site: SiteKey,
    },
    /// Let a passkey into this account as well; made for the key that signs this.
    AddPasskey {
        /// The passkey.
        passkey: NewPasskey,
    },
    /// Let a passkey in no more.
    RemovePasskey {
        /// Its name, as in [`PasskeyView`].
        credential: String,
    },
    /// Let the key of a recovery file into this account as well.
    AddFile {
        /// Its [`Task::Join`], so that nobody takes up a key that is not theirs.
        file: Box<SignedTask>,
    },
    /// Belong to this account from now on: done only within [`Task::AddFile`].
    Join {
        /// The account.
        account: NodeId,
    },
}

/// The answer to every task: the owner's sites as they are then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskAnswer {
    /// In the order in which they were registered.
    pub sites: Vec<OwnedSite>,
    /// What a check did not find, a sentence each.
    pub faults: Vec<String>,
    /// The ways into the account.
    #[serde(default)]
    pub account: Option<AccountView>,
}

/// The ways into an owner's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// The account.
    pub owner: NodeId,
    /// Passkeys, oldest first.
    pub passkeys: Vec<PasskeyView>,
    /// How many recovery files open it, as far as the server knows: that of an account which never had a
    /// passkey is known by its signature alone.
    pub files: u32,
}

/// A passkey as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasskeyView {
    /// Its name, base64url.
    pub credential: String,
    /// When it was let in, seconds since 1970.
    pub made_s: u64,
}

/// A site as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedSite {
    /// Its key, which is no secret: it stands in the site's pages.
    pub key: SiteKey,
    /// What visitors read.
    pub name: String,
    /// Where its pages are.
    pub origins: Vec<OwnedOrigin>,
    /// False if its owner has switched it off.
    pub on: bool,
    /// Why its widget does not run; `None` if it does.
    pub why_not: Option<String>,
    /// Counts of the days on which there was something to count, oldest first.
    pub days: Vec<DayCounts>,
}

/// An origin of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedOrigin {
    /// Such as `https://recipes.example`.
    pub origin: String,
    /// Whether the key was found there.
    pub proved: bool,
}

/// What happened at a site on one day, in universal time. Counts only: nothing of them is a person's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayCounts {
    /// Days since 1970.
    pub day: u32,
    /// How often the widget's document was served.
    pub shown: u64,
    /// How often somebody said yes.
    pub accepted: u64,
    /// How often somebody said no.
    pub refused: u64,
    /// How long visitors lent, together, seconds.
    pub seconds: u64,
    /// What they were credited with, together, multiply-accumulates. It is theirs, not the site's.
    pub macs: u64,
}

/// A site whose widget runs, as everybody may know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteView {
    /// Its key.
    pub key: SiteKey,
    /// Its name.
    pub name: String,
    /// The origins that carry its key.
    pub origins: Vec<String>,
    /// How long visitors lent, together, seconds.
    pub seconds: u64,
    /// What they were credited with, together, multiply-accumulates.
    pub macs: u64,
}

impl SignedTask {
    /// Signs `text`, a [`TaskText`] as JSON, as `owner`.
    #[must_use]
    pub fn new(owner: &Identity, text: String) -> Self {
        let signature = owner.sign(Purpose::SiteTask, text.as_bytes()).to_string();
        Self { owner: owner.node(), text, signature }
    }

    /// True if its owner signed it.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        is_signed(self.owner, Purpose::SiteTask, &self.text, &self.signature)
    }
}

/// A site's name as it may be shown: without control characters and marks that turn the direction of
/// a text or are not seen, in one line, at most [`MAX_NAME_LETTERS`]. `None` if nothing is left.
#[must_use]
pub fn clean_name(text: &str) -> Option<String> {
    name::clean(text, MAX_NAME_LETTERS, usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_its_owners_and_as_it_was_signed() {
        let owner = Identity::from_seed(&[1; 32]);
        let task = Task::Switch { site: SiteKey([2; 16]), on: false };
        let text = TaskText {
            to: "https://a".to_owned(),
            at_s: 1,
            nonce: "n".to_owned(),
            task,
            account: None,
        };
        let signed = SignedTask::new(&owner, serde_json::to_string(&text).unwrap());
        assert!(signed.is_signed());
        assert_eq!(serde_json::from_str::<TaskText>(&signed.text).unwrap(), text);
        let other = Identity::from_seed(&[3; 32]).node();
        assert!(!SignedTask { owner: other, ..signed.clone() }.is_signed());
        let changed = signed.text.replace("false", "true");
        assert!(!SignedTask { text: changed, ..signed.clone() }.is_signed());
        for wrong in ["", "00", &"g".repeat(128), &"0".repeat(130)] {
            assert!(!SignedTask { signature: wrong.to_owned(), ..signed.clone() }.is_signed());
        }
    }

    #[test]
    fn a_name_is_one_line_of_letters_that_are_seen() {
        assert_eq!(clean_name("  Rosa's\n recipes\t").as_deref(), Some("Rosa's recipes"));
        assert_eq!(clean_name("\u{202e}gpj.exe\u{2066}\u{200b}\u{7}").as_deref(), Some("gpj.exe"));
        assert_eq!(
            clean_name("<b>&\"'").as_deref(),
            Some("<b>&\"'"),
            "it is text wherever it is shown"
        );
        assert_eq!(clean_name("日本語 مرحبا").as_deref(), Some("日本語 مرحبا"));
        assert_eq!(clean_name(&"x".repeat(100)).unwrap().len(), MAX_NAME_LETTERS);
        for nothing in ["", " \n", "\u{200f}\u{feff}"] {
            assert_eq!(clean_name(nothing), None);
        }
    }
}
