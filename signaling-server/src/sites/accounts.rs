//! Ways into an owner's account: recovery files, whose keys sign tasks themselves, and passkeys, each of
//! which vouches for a key of the page's for an hour.
//!
//! Nothing of this is a secret of the server's: nonces are worth nothing twice, and a key that is vouched
//! for is the page's own and never leaves it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};

use data_encoding::BASE64URL_NOPAD;
use potluck_protocol::id::NodeId;
use potluck_protocol::passkey::{Entered, Entry, EntryBy, NewPasskey, PasskeyChallenge};
use potluck_protocol::site::{AccountView, PasskeyView};

use super::Sites;
use super::passkey::{Passkey, PasskeyFault, Wanted, answered, bytes32, made};
use super::tasks::TaskError;
use crate::calendar::unix_now_s;

/// For an answer to a challenge, seconds: to find one's key, and enter its PIN.
const CHALLENGE_S: u64 = 5 * 60;
/// Challenges that wait for their answers at most. Beyond it, new ones wait until old ones are over.
const MAX_CHALLENGES: usize = 10_000;
/// A passkey's word for a key holds so long, seconds: an afternoon's work at a page that stays open.
const ENTRY_S: u64 = 60 * 60;
/// Keys that passkeys vouch for at most.
const MAX_ENTRIES: usize = 10_000;
/// Passkeys of one owner: of every device and a spare.
const MAX_PASSKEYS_OF_OWNER: usize = 8;
/// Recovery files of an account with passkeys.
const MAX_FILES_OF_OWNER: u32 = 4;

/// Who is in, and who is asked.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// Nonces, and until when they may be answered.
    challenges: HashMap<[u8; 32], u64>,
    /// Keys that sign for an account, and until when.
    entries: HashMap<NodeId, (NodeId, u64)>,
}

/// Something to be added to an account, or taken from it.
pub(super) struct Adding<'a> {
    /// The key that signed for it.
    pub(super) signer: NodeId,
    /// The account.
    pub(super) owner: NodeId,
    pub(super) is_own: &'a (dyn Fn(&str) -> bool + Sync),
    pub(super) now_s: u64,
}

impl Accounts {
    fn challenge(&mut self, nonce: [u8; 32], now_s: u64) -> Result<(), TaskError> {
        if self.challenges.len() >= MAX_CHALLENGES {
            self.challenges.retain(|_, until_s| *until_s > now_s);
        }
        if self.challenges.len() >= MAX_CHALLENGES {
            return Err(TaskError::TooMany);
        }
        self.challenges.insert(nonce, now_s + CHALLENGE_S);
        Ok(())
    }

    /// Takes a nonce that comes back: it is good once.
    fn answered(&mut self, nonce: &str, now_s: u64) -> Result<[u8; 32], PasskeyFault> {
        let nonce = bytes32(nonce).ok_or(PasskeyFault::Challenge)?;
        let until_s = self.challenges.remove(&nonce).ok_or(PasskeyFault::Challenge)?;
        if until_s <= now_s { Err(PasskeyFault::Challenge) } else { Ok(nonce) }
    }

    fn enter(&mut self, signer: NodeId, owner: NodeId, now_s: u64) -> Result<Entered, TaskError> {
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.retain(|_, (_, until_s)| *until_s > now_s);
        }
        if self.entries.len() >= MAX_ENTRIES {
            return Err(TaskError::TooMany);
        }
        let until_s = now_s + ENTRY_S;
        self.entries.insert(signer, (owner, until_s));
        Ok(Entered { account: owner, until_s })
    }

    fn account(&self, signer: NodeId, now_s: u64) -> Option<NodeId> {
        let (owner, until_s) = self.entries.get(&signer)?;
        (*until_s > now_s).then_some(*owner)
    }

    /// Whoever else is in by a passkey of this account is so no more.
    fn turn_out(&mut self, owner: NodeId, but: NodeId) {
        self.entries.retain(|signer, (account, _)| *account != owner || *signer == but);
    }
}

impl Sites {
    /// Something for a passkey to sign.
    ///
    /// # Errors
    /// If too much is asked.
    pub(crate) fn challenge(&self, from: IpAddr) -> Result<PasskeyChallenge, TaskError> {
        let now_s = unix_now_s();
        self.knock(from, now_s)?;
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|_| TaskError::NoRandomness)?;
        self.accounts().challenge(nonce, now_s)?;
        Ok(PasskeyChallenge { nonce: BASE64URL_NOPAD.encode(&nonce) })
    }

    /// A passkey, new or known, vouches for a key.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) async fn enter(
        &self,
        entry: &Entry,
        is_own: &(dyn Fn(&str) -> bool + Sync),
        from: IpAddr,
    ) -> Result<Entered, TaskError> {
        let now_s = unix_now_s();
        self.knock(from, now_s)?;
        let signer = entry.signer;
        let owner = match &entry.by {
            EntryBy::New(_) if self.options.no_widgets => return Err(TaskError::NoWidgets),
            EntryBy::New(new) => {
                let nonce = self.accounts().answered(&new.nonce, now_s)?;
                let (owner, wanted) = (NodeId(nonce), Wanted { nonce, signer, is_own });
                self.keep(new, &wanted, owner, false, now_s).await?;
                owner
            }
            EntryBy::Known(answer) => {
                let nonce = self.accounts().answered(&answer.nonce, now_s)?;
                let credential = BASE64URL_NOPAD
                    .decode(answer.credential.as_bytes())
                    .map_err(|_| PasskeyFault::Unreadable)?;
                let passkey = self.store.passkey(&credential).await?;
                let passkey = passkey.ok_or(PasskeyFault::Unknown)?;
                let counter = answered(answer, &passkey, &Wanted { nonce, signer, is_own })?;
                if !self.store.use_passkey(&credential, counter, now_s).await? {
                    return Err(PasskeyFault::Counter.into());
                }
                passkey.owner
            }
        };
        self.accounts().enter(signer, owner, now_s)
    }

    async fn keep(
        &self,
        new: &NewPasskey,
        wanted: &Wanted<'_>,
        owner: NodeId,
        is_file: bool,
        now_s: u64,
    ) -> Result<(), TaskError> {
        let (credential, key, counter) = made(new, wanted)?;
        let passkey = Passkey { credential, owner, key, counter, made_s: now_s };
        if self.store.add_passkey(&passkey, is_file).await? {
            return Ok(());
        }
        let is_known = self.store.passkey(&passkey.credential).await?.is_some();
        Err(if is_known { PasskeyFault::Known.into() } else { TaskError::Full })
    }

    /// Whose tasks this key signs: those of the account that a passkey let it in to, of the account that
    /// its recovery file was added to, or its own.
    pub(super) async fn account(&self, signer: NodeId, now_s: u64) -> Result<NodeId, TaskError> {
        if let Some(owner) = self.accounts().account(signer, now_s) {
            return Ok(owner);
        }
        Ok(self.store.account_of(signer).await?.unwrap_or(signer))
    }

    pub(super) async fn add_passkey(
        &self,
        new: &NewPasskey,
        adding: &Adding<'_>,
    ) -> Result<(), TaskError> {
        let Adding { signer, owner, is_own, now_s } = *adding;
        let nonce = self.accounts().answered(&new.nonce, now_s)?;
        let passkeys = self.store.passkeys_of(owner).await?;
        if passkeys.len() >= MAX_PASSKEYS_OF_OWNER {
            return Err(PasskeyFault::Many.into());
        }
        // The file that signs is a way in, which has to be known before a passkey may be removed.
        let is_file = signer == owner;
        self.keep(new, &Wanted { nonce, signer, is_own }, owner, is_file, now_s).await
    }

    pub(super) async fn remove_passkey(
        &self,
        credential: &str,
        adding: &Adding<'_>,
    ) -> Result<(), TaskError> {
        let credential =
            BASE64URL_NOPAD.decode(credential.as_bytes()).map_err(|_| PasskeyFault::Unreadable)?;
        if !self.store.remove_passkey(adding.owner, &credential).await? {
            return Err(PasskeyFault::Last.into());
        }
        self.accounts().turn_out(adding.owner, adding.signer);
        Ok(())
    }

    /// The recovery file with `key`, which said that it wants to belong to `account`.
    pub(super) async fn add_file(
        &self,
        key: NodeId,
        account: NodeId,
        adding: &Adding<'_>,
    ) -> Result<(), TaskError> {
        if account != adding.owner || self.accounts().account(key, adding.now_s).is_some() {
            return Err(PasskeyFault::File.into());
        }
        // Nobody's sites are to be out of reach, nor may an account of its own become another's.
        let has_sites = self.registry().all().iter().any(|site| site.owner == key);
        if has_sites || !self.store.passkeys_of(key).await?.is_empty() {
            return Err(PasskeyFault::File.into());
        }
        if self.store.passkeys_of(adding.owner).await?.is_empty() {
            return Err(PasskeyFault::File.into());
        }
        if self.store.files_of(adding.owner).await? >= MAX_FILES_OF_OWNER {
            return Err(PasskeyFault::Many.into());
        }
        if self.store.add_file(key, adding.owner).await? {
            Ok(())
        } else {
            Err(PasskeyFault::File.into())
        }
    }

    pub(super) async fn account_view(&self, owner: NodeId) -> Result<AccountView, TaskError> {
        let view = |passkey: Passkey| PasskeyView {
            credential: BASE64URL_NOPAD.encode(&passkey.credential),
            made_s: passkey.made_s,
        };
        let passkeys = self.store.passkeys_of(owner).await?;
        let files = self.store.files_of(owner).await?;
        Ok(AccountView { owner, passkeys: passkeys.into_iter().map(view).collect(), files })
    }

    fn knock(&self, from: IpAddr, now_s: u64) -> Result<(), TaskError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.knock(false, from, now_s)
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
