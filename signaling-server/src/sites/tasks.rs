//! What owners have the server do: signed, fresh, done once, and each within limits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::PoisonError;

use potluck_protocol::id::{NodeId, SiteKey};
use potluck_protocol::site::{
    MAX_ORIGINS, OwnedOrigin, OwnedSite, SignedTask, Task, TaskAnswer, TaskText, clean_name,
};

use super::accounts::Adding;

use super::origin::{NoSiteOrigin, SiteOrigin};
use super::passkey::PasskeyFault;
use super::proof::prove;
use super::registry::{Bound, MAX_SITES, MAX_SITES_OF_OWNER, NoRoom, Site};
use super::{Sites, WhyNot};
use crate::calendar::unix_now_s;
use crate::store::StoreError;

/// A task as it came in.
pub(crate) struct Asked<'a> {
    pub(crate) task: &'a SignedTask,
    /// True for an origin of this server.
    pub(crate) is_own: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whom it came from, as connections are counted.
    pub(crate) from: IpAddr,
}

/// Why a task was not done. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// It is not signed by its owner, or is no task.
    #[error("the task is not signed by its owner's key, or is none that this server knows")]
    Unsigned,
    /// It was signed for another server.
    #[error("the task was signed for {0}, which this server does not know as its own")]
    OtherServer(String),
    /// It was signed too long ago, or in the future.
    #[error(
        "the task was signed more than {FRESH_S} s from now: set this computer's clock, then try again"
    )]
    Stale,
    /// It was done already.
    #[error("the task was done already")]
    Again,
    /// Too many from one address.
    #[error("too many tasks from this address; try again in an hour")]
    TooMany,
    /// Too many origins are asked just now.
    #[error("too many sites are being checked now; try again in a minute")]
    Busy,
    /// The operator wants no widgets.
    #[error("{}", WhyNot::NoWidgets)]
    NoWidgets,
    /// A site without a name.
    #[error("a site needs a name, which visitors read, of letters that can be seen")]
    NoName,
    /// A site without origins, or with too many.
    #[error("a site has 1 to {MAX_ORIGINS} origins, each once")]
    Origins,
    /// An origin that is none.
    #[error("{0}")]
    Origin(#[from] NoSiteOrigin),
    /// No more sites of this owner.
    #[error("an owner has at most {MAX_SITES_OF_OWNER} sites; remove one first")]
    OwnerHasMany,
    /// No more sites.
    #[error("this server has {MAX_SITES} sites, and no room for another")]
    Full,
    /// There is no such site, or it is another's.
    #[error("you have no such site")]
    NotYours,
    /// The key that signed does not stand for that account, or no more.
    #[error("you are not signed in any more: use your passkey or your recovery file again")]
    SignedOut,
    /// A passkey or recovery file that does not count.
    #[error("{0}")]
    Passkey(#[from] PasskeyFault),
    /// The system has no randomness.
    #[error("the server has no randomness")]
    NoRandomness,
    /// The database fails.
    #[error("the database failed")]
    Store(#[from] StoreError),
}

/// How far a task's time may be from the server's, seconds.
const FRESH_S: u64 = 5 * 60;
/// Tasks from one address in an hour: an afternoon's work on a dozen sites.
const TASKS_AN_HOUR: u32 = 300;
/// Tasks that make a server ask others, from one address in an hour.
const CHECKS_AN_HOUR: u32 = 60;
/// Tasks and addresses that are remembered. Beyond it, new ones wait until old ones are forgotten.
const MAX_SEEN: usize = 50_000;
const HOUR_S: u64 = 60 * 60;

/// What was asked lately.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Signatures, and when they need not be known any more.
    tasks: HashMap<String, u64>,
    /// Tasks and checks of an address, in the hour that began then.
    addresses: HashMap<IpAddr, (u64, u32, u32)>,
}

impl Seen {
    /// Takes one in; whether it may be done.
    fn take(
        &mut self,
        task: &SignedTask,
        is_check: bool,
        from: IpAddr,
        now_s: u64,
    ) -> Result<(), TaskError> {
        self.knock(is_check, from, now_s)?;
        match self.tasks.insert(task.signature.clone(), now_s + 2 * FRESH_S) {
            Some(_) => Err(TaskError::Again),
            None => Ok(()),
        }
    }

    /// Counts something that is asked from an address; whether it is not too much.
    pub(super) fn knock(
        &mut self,
        is_check: bool,
        from: IpAddr,
        now_s: u64,
    ) -> Result<(), TaskError> {
        if self.tasks.len() >= MAX_SEEN || self.addresses.len() >= MAX_SEEN {
            self.tasks.retain(|_, until_s| *until_s > now_s);
            self.addresses.retain(|_, (since_s, ..)| *since_s + HOUR_S > now_s);
        }
        if self.tasks.len() >= MAX_SEEN || self.addresses.len() >= MAX_SEEN {
            return Err(TaskError::TooMany);
        }
        let (since_s, tasks, checks) = self.addresses.entry(from).or_insert((now_s, 0, 0));
        if now_s >= since_s.saturating_add(HOUR_S) {
            (*since_s, *tasks, *checks) = (now_s, 0, 0);
        }
        if *tasks >= TASKS_AN_HOUR || (is_check && *checks >= CHECKS_AN_HOUR) {
            return Err(TaskError::TooMany);
        }
        *tasks += 1;
        *checks += u32::from(is_check);
        Ok(())
    }
}

impl Sites {
    /// Does what an owner wants, and tells of all their sites.
    ///
    /// # Errors
    /// Why it was not done.
    pub(crate) async fn perform(&self, asked: Asked<'_>) -> Result<TaskAnswer, TaskError> {
        let now_s = unix_now_s();
        let TaskText { task, account, .. } = self.admit(&asked, now_s)?;
        let signer = asked.task.owner;
        let owner = self.account(signer, now_s).await?;
        if account.is_some_and(|account| account != owner) {
            return Err(TaskError::SignedOut);
        }
        let adding = Adding { signer, owner, is_own: asked.is_own, now_s };
        let mut faults = Vec::new();
        match task {
            Task::List => {}
            Task::Register { name, origins } => {
                self.register(owner, &name, &origins, now_s).await?
            }
            Task::Check { site } => faults = self.check(&self.of(owner, site)?, now_s).await?,
            Task::Switch { site, on } => {
                let mut site = self.of(owner, site)?;
                site.is_on = on;
                self.store.put_site(&site).await?;
                self.registry().put(site);
                self.tell();
            }
            Task::Remove { site } => {
                let site = self.of(owner, site)?;
                self.store.remove_site(site.key).await?;
                self.registry().remove(site.key);
                self.tell();
            }
            Task::AddPasskey { passkey } => self.add_passkey(&passkey, &adding).await?,
            Task::RemovePasskey { credential } => {
                self.remove_passkey(&credential, &adding).await?;
            }
            Task::AddFile { file } => {
                let inner = Asked { task: &file, ..asked };
                let Task::Join { account } = self.admit(&inner, now_s)?.task else {
                    return Err(TaskError::Unsigned);
                };
                self.add_file(file.owner, account, &adding).await?;
            }
            // By itself it would take an account's word for nothing.
            Task::Join { .. } => return Err(TaskError::Unsigned),
        }
        let sites = self.of_owner(owner).await?;
        Ok(TaskAnswer { sites, faults, account: Some(self.account_view(owner).await?) })
    }

    /// What is to be done, if its owner signed it for this server just now.
    fn admit(&self, asked: &Asked<'_>, now_s: u64) -> Result<TaskText, TaskError> {
        let signed = asked.task;
        let text: TaskText = match serde_json::from_str(&signed.text) {
            Ok(text) if signed.is_signed() => text,
            _ => return Err(TaskError::Unsigned),
        };
        if !(asked.is_own)(&text.to) {
            return Err(TaskError::OtherServer(text.to.chars().take(100).collect()));
        }
        if text.at_s.abs_diff(now_s) > FRESH_S {
            return Err(TaskError::Stale);
        }
        // Those who have sites may still look, and switch them off.
        let is_more = matches!(text.task, Task::Register { .. } | Task::Check { .. });
        if is_more && self.options.no_widgets {
            return Err(TaskError::NoWidgets);
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.take(signed, is_more, asked.from, now_s)?;
        Ok(text)
    }

    async fn register(
        &self,
        owner: NodeId,
        name: &str,
        origins: &[String],
        now_s: u64,
    ) -> Result<(), TaskError> {
        let name = clean_name(name).ok_or(TaskError::NoName)?;
        if !(1..=MAX_ORIGINS).contains(&origins.len()) {
            return Err(TaskError::Origins);
        }
        let mut bound: Vec<Bound> = Vec::new();
        for text in origins {
            let origin = SiteOrigin::parse(text.trim(), self.options.allow_private_sites)?;
            if bound.iter().any(|other| other.origin == origin) {
                return Err(TaskError::Origins);
            }
            bound.push(Bound { origin, proved_s: None });
        }
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|_| TaskError::NoRandomness)?;
        let key = SiteKey(key);
        let site = Site { key, owner, name, origins: bound, is_on: true, registered_s: now_s };
        let stale = {
            let mut registry = self.registry();
            let stale = registry.room(owner, now_s).map_err(|no_room| match no_room {
                NoRoom::Owner => TaskError::OwnerHasMany,
                NoRoom::Server => TaskError::Full,
            })?;
            // At once, so that no other takes the room meanwhile.
            registry.put(site.clone());
            if let Some(stale) = stale {
                registry.remove(stale);
            }
            stale
        };
        if let Some(stale) = stale {
            self.store.remove_site(stale).await?;
        }
        let put = self.store.put_site(&site).await;
        if put.is_err() {
            self.registry().remove(key);
        }
        Ok(put?)
    }

    /// Asks every origin of a site; what was not found, a sentence each.
    async fn check(&self, site: &Site, now_s: u64) -> Result<Vec<String>, TaskError> {
        let _room = self.checks.try_acquire().map_err(|_| TaskError::Busy)?;
        let is_private_allowed = self.options.allow_private_sites;
        let asking =
            site.origins.iter().map(|bound| prove(&bound.origin, site.key, is_private_allowed));
        let found = futures::future::join_all(asking).await;
        // It may have been switched, or removed, meanwhile.
        let mut site = self.of(site.owner, site.key)?;
        let mut faults = Vec::new();
        for (bound, found) in site.origins.iter_mut().zip(found) {
            bound.proved_s = found.is_ok().then_some(now_s);
            if let Err(why) = found {
                faults.push(format!("{}: {why}", bound.origin));
            }
        }
        self.store.put_site(&site).await?;
        self.registry().put(site);
        self.tell();
        Ok(faults)
    }

    /// A copy of a site of this owner.
    fn of(&self, owner: NodeId, key: SiteKey) -> Result<Site, TaskError> {
        let site = self.registry().site(key).filter(|site| site.owner == owner);
        site.map(|site| (*site).clone()).ok_or(TaskError::NotYours)
    }

    async fn of_owner(&self, owner: NodeId) -> Result<Vec<OwnedSite>, TaskError> {
        self.count_running();
        self.flush().await?;
        let sites = self.registry().all();
        let mut owned = Vec::new();
        for site in sites.iter().filter(|site| site.owner == owner) {
            owned.push(OwnedSite {
                key: site.key,
                name: site.name.clone(),
                origins: site
                    .origins
                    .iter()
                    .map(|bound| OwnedOrigin {
                        origin: bound.origin.to_string(),
                        proved: bound.proved_s.is_some(),
                    })
                    .collect(),
                on: site.is_on,
                why_not: self.judge(site.key, Some(site)).err().map(|why| why.to_string()),
                days: self.store.site_days(site.key).await?,
            });
        }
        Ok(owned)
    }
}
