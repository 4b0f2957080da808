//! Sites that show the widget: who owns them, where their pages are, whether their widget may run, and
//! counts of what happened there.
//!
//! ```text
//! owner ─ signed task ─▶ tasks ─▶ registry ─▶ store          proof ─▶ the site, asked for its key
//!       ─ passkey ─▶ accounts: vouches for a key that signs tasks
//! visitor ─ embed.html ─▶ standing ─▶ a question, or why not
//! node ─ grant at a site ─▶ visit ─▶ ended the moment the site may not any more
//! ```
//! Everything is answered from memory; the disk is written when an owner changes something, and with
//! counts every few seconds. Counts of the last seconds before a crash are lost, of those who lend just
//! then their last minute, and nothing else.

mod accounts;
mod address;
mod counts;
mod options;
mod origin;
mod passkey;
mod proof;
mod registry;
mod tasks;
mod visits;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use potluck_protocol::id::SiteKey;
use potluck_protocol::site::SiteView;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::calendar::unix_now_s;
use crate::store::{Store, StoreError};

pub use options::WidgetOptions;

pub(crate) use counts::Counted;
pub(crate) use origin::SiteOrigin;
pub(crate) use passkey::{Passkey, PasskeyKey};
pub(crate) use registry::{Bound, Site};
pub(crate) use tasks::{Asked, TaskError};

use accounts::Accounts;
use counts::Counts;
use registry::Registry;
use tasks::Seen;
use visits::{Number, Visits};

/// All sites of this server.
#[derive(Debug)]
pub(crate) struct Sites {
    options: WidgetOptions,
    store: Store,
    registry: Mutex<Registry>,
    counts: Mutex<Counts>,
    seen: Mutex<Seen>,
    accounts: Mutex<Accounts>,
    visits: Mutex<Visits>,
    /// Room for checks of origins.
    checks: Semaphore,
    /// Rises when a site may not run any more.
    changed: watch::Sender<u64>,
    /// Seconds and credit of every site, as they were read last: everybody may ask for them.
    totals: tokio::sync::Mutex<Option<(Instant, Arc<Totals>)>>,
}

type Totals = BTreeMap<SiteKey, (u64, u64)>;

/// A visitor who lends at a site, until this is dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    sites: Arc<Sites>,
    site: SiteKey,
    number: Number,
    changed: watch::Receiver<u64>,
}

/// Why a widget does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WhyNot {
    /// The operator wants none.
    #[error("this server's operator has switched widgets off")]
    NoWidgets,
    /// The operator does not want this one.
    #[error("this server's operator has switched this site off")]
    Blocked,
    /// Nobody registered it.
    #[error("this server knows no site of this key")]
    Unknown,
    /// Its owner does not want it now.
    #[error("switched off by {0}")]
    Off(String),
    /// None of its origins carries its key.
    #[error("{0} has not been proved to be its owner's yet")]
    Unproved(String),
}

/// Visits that go on are counted so often: what a crash can lose of their time.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// Counts are written so often.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// Origins that are asked for their proof at a time.
const CHECKS: usize = 8;

impl Sites {
    /// Reads what is in the store.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn open(
        store: Store,
        options: WidgetOptions,
    ) -> Result<Arc<Self>, StoreError> {
        let registry = Registry::new(store.sites().await?);
        Ok(Arc::new(Self {
            options,
            store,
            registry: Mutex::new(registry),
            counts: Mutex::default(),
            seen: Mutex::default(),
            accounts: Mutex::default(),
            visits: Mutex::default(),
            checks: Semaphore::new(CHECKS),
            changed: watch::Sender::new(0),
            totals: tokio::sync::Mutex::default(),
        }))
    }

    /// The site, and whether its widget may run.
    pub(crate) fn standing(&self, key: SiteKey) -> (Option<Arc<Site>>, Result<(), WhyNot>) {
        let site = self.registry().site(key);
        let standing = self.judge(key, site.as_deref());
        (site, standing)
    }

    fn judge(&self, key: SiteKey, site: Option<&Site>) -> Result<(), WhyNot> {
        let Some(site) = site else {
            return Err(if self.options.no_widgets { WhyNot::NoWidgets } else { WhyNot::Unknown });
        };
        if self.options.no_widgets {
            Err(WhyNot::NoWidgets)
        } else if self.options.blocked_sites.contains(&key) {
            Err(WhyNot::Blocked)
        } else if !site.is_on {
            Err(WhyNot::Off(site.name.clone()))
        } else if site.proved().next().is_none() {
            Err(WhyNot::Unproved(site.name.clone()))
        } else {
            Ok(())
        }
    }

    /// A visitor begins to lend at a site.
    ///
    /// # Errors
    /// If its widget may not run.
    pub(crate) fn visit(self: &Arc<Self>, site: SiteKey) -> Result<Visit, WhyNot> {
        // Before the look, so that no change is missed.
        let changed = self.changed.subscribe();
        self.standing(site).1?;
        let number = self.visits().begin(site, Instant::now());
        Ok(Visit { sites: Arc::clone(self), site, number, changed })
    }

    /// Something happened at a site that runs; at others nothing is counted.
    pub(crate) fn count(&self, site: SiteKey, what: Counted) {
        if self.standing(site).1.is_ok() {
            self.counts().count(site, unix_now_s(), what);
        }
    }

    /// The sites whose widget runs, for everybody.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn published(&self) -> Result<Vec<SiteView>, StoreError> {
        let totals = self.totals().await?;
        let sites = self.registry().all();
        let running = sites.iter().filter(|site| self.judge(site.key, Some(site)).is_ok());
        Ok(running
            .map(|site| {
                let (seconds, macs) = totals.get(&site.key).copied().unwrap_or_default();
                SiteView {
                    key: site.key,
                    name: site.name.clone(),
                    origins: site.proved().map(ToString::to_string).collect(),
                    seconds,
                    macs,
                }
            })
            .collect())
    }

    /// Read from the disk at most as often as counts are written to it.
    async fn totals(&self) -> Result<Arc<Totals>, StoreError> {
        let mut last = self.totals.lock().await;
        if let Some((at, totals)) = &*last
            && at.elapsed() < FLUSH_EVERY
        {
            return Ok(Arc::clone(totals));
        }
        self.flush().await?;
        let totals = Arc::new(self.store.site_totals().await?);
        *last = Some((Instant::now(), Arc::clone(&totals)));
        Ok(totals)
    }

    /// Writes counts down, again and again.
    pub(crate) async fn keep_up(&self) -> Infallible {
        let mut counted = Instant::now();
        loop {
            tokio::time::sleep(FLUSH_EVERY).await;
            if counted.elapsed() >= COUNT_EVERY {
                counted = Instant::now();
                self.count_running();
            }
            if let Err(error) = self.flush().await {
                tracing::warn!(%error, "could not write down the counts of sites; they are kept");
            }
        }
    }

    /// Counts the time of the visits that go on, as far as it was not yet.
    fn count_running(&self) {
        let running = self.visits().count(Instant::now());
        let (now_s, mut counts) = (unix_now_s(), self.counts());
        for (site, seconds) in running {
            counts.count_seconds(site, now_s, seconds);
        }
    }

    /// Writes down what was counted.
    ///
    /// # Errors
    /// If the database fails; the counts are kept for another time.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        let counted = self.counts().take();
        if counted.is_empty() {
            return Ok(());
        }
        let written = self.store.add_site_counts(&counted).await;
        if written.is_err() {
            self.counts().put_back(counted);
        }
        written
    }

    /// Whoever lends where it is not allowed any more is to hear of it.
    fn tell(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn visits(&self) -> MutexGuard<'_, Visits> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    /// Where it is.
    pub(crate) fn site(&self) -> SiteKey {
        self.site
    }

    /// Waits until the site may not run any more, and says why.
    pub(crate) async fn forbidden(&mut self) -> WhyNot {
        loop {
            if self.changed.changed().await.is_err() {
                // Not reached: this holds the sender.
                std::future::pending::<()>().await;
            }
            if let Err(why) = self.sites.standing(self.site).1 {
                return why;
            }
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // Also of a site that was switched off meanwhile: the time was lent.
        if let Some(seconds) = self.sites.visits().end(self.number, Instant::now()) {
            self.sites.counts().count_seconds(self.site, unix_now_s(), seconds);
        }
    }
}

#[cfg(test)]
mod tests;
