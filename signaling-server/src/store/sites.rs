//! Sites and their counts. They are written seldom, by whoever has something to write: the writer of
//! receipts need not wait for them.

use std::collections::{BTreeMap, HashMap};

use potluck_protocol::id::{NodeId, SiteKey};
use potluck_protocol::site::DayCounts;

use super::{Store, StoreError};
use crate::sites::{Bound, Site, SiteOrigin};

/// Days of counts that an owner is told: a year and a quarter, to compare with the year before.
const MAX_DAYS: u32 = 460;

/// Key, owner, name, whether it is on, and when it was registered.
type Row = (Vec<u8>, Vec<u8>, String, bool, i64);

impl Store {
    /// All sites.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn sites(&self) -> Result<Vec<Site>, StoreError> {
        let bound: Vec<(Vec<u8>, String, Option<i64>)> =
            sqlx::query_as("SELECT site, origin, proved_s FROM site_origins ORDER BY site, origin")
                .fetch_all(&self.readers)
                .await?;
        let mut origins: HashMap<Vec<u8>, Vec<Bound>> = HashMap::new();
        for (site, origin, proved_s) in bound {
            // What may be registered was decided when it was.
            let origin = SiteOrigin::parse(&origin, true)
                .map_err(|_| StoreError::Unreadable("origin of a site"))?;
            let proved_s = proved_s.map(i64::unsigned_abs);
            origins.entry(site).or_default().push(Bound { origin, proved_s });
        }
        let rows: Vec<Row> =
            sqlx::query_as("SELECT key, owner, name, is_on, registered_s FROM sites")
                .fetch_all(&self.readers)
                .await?;
        let mut site = |(key, owner, name, is_on, registered_s): Row| {
            Ok(Site {
                origins: origins.remove(&key).unwrap_or_default(),
                key: site_key(key)?,
                owner: NodeId(owner.try_into().map_err(|_| StoreError::Unreadable("owner"))?),
                name,
                is_on,
                registered_s: registered_s.unsigned_abs(),
            })
        };
        rows.into_iter().map(&mut site).collect()
    }

    /// Writes a site down, in place of what was there of it.
    ///
    /// # Errors
    /// If the database fails; nothing was changed then.
    pub(crate) async fn put_site(&self, site: &Site) -> Result<(), StoreError> {
        let mut transaction = self.site_writes.begin().await?;
        sqlx::query(
            "INSERT INTO sites (key, owner, name, is_on, registered_s) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (key) DO UPDATE SET name = excluded.name, is_on = excluded.is_on",
        )
        .bind(&site.key.0[..])
        .bind(&site.owner.0[..])
        .bind(&site.name)
        .bind(site.is_on)
        .bind(signed(site.registered_s))
        .execute(&mut *transaction)
        .await?;
        for bound in &site.origins {
            sqlx::query(
                "INSERT INTO site_origins (site, origin, proved_s) VALUES (?, ?, ?)
                 ON CONFLICT (site, origin) DO UPDATE SET proved_s = excluded.proved_s",
            )
            .bind(&site.key.0[..])
            .bind(bound.origin.to_string())
            .bind(bound.proved_s.map(signed))
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Forgets a site and its counts.
    ///
    /// # Errors
    /// If the database fails; nothing was changed then.
    pub(crate) async fn remove_site(&self, key: SiteKey) -> Result<(), StoreError> {
        let removing = sqlx::query("DELETE FROM sites WHERE key = ?").bind(&key.0[..]);
        removing.execute(&self.site_writes).await?;
        Ok(())
    }

    /// Adds to the counts of days; those of sites that are gone are dropped.
    ///
    /// # Errors
    /// If the database fails; nothing was added then.
    pub(crate) async fn add_site_counts(
        &self,
        counted: &[(SiteKey, DayCounts)],
    ) -> Result<(), StoreError> {
        let mut transaction = self.site_writes.begin().await?;
        for (site, counts) in counted {
            sqlx::query(
                "INSERT INTO site_days (site, day, shown, accepted, refused, seconds, macs)
                 SELECT key, ?, ?, ?, ?, ?, ? FROM sites WHERE key = ?
                 ON CONFLICT (site, day) DO UPDATE SET shown = shown + excluded.shown,
                 accepted = accepted + excluded.accepted, refused = refused + excluded.refused,
                 seconds = seconds + excluded.seconds, macs = macs + excluded.macs",
            )
            .bind(counts.day)
            .bind(signed(counts.shown))
            .bind(signed(counts.accepted))
            .bind(signed(counts.refused))
            .bind(signed(counts.seconds))
            .bind(signed(counts.macs))
            .bind(&site.0[..])
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// The last days of a site, oldest first.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn site_days(&self, site: SiteKey) -> Result<Vec<DayCounts>, StoreError> {
        let rows: Vec<(u32, i64, i64, i64, i64, i64)> = sqlx::query_as(
            "SELECT day, shown, accepted, refused, seconds, macs FROM site_days WHERE site = ?
             ORDER BY day DESC LIMIT ?",
        )
        .bind(&site.0[..])
        .bind(MAX_DAYS)
        .fetch_all(&self.readers)
        .await?;
        let counts =
            |(day, shown, accepted, refused, seconds, macs): (_, i64, i64, i64, i64, i64)| {
                DayCounts {
                    day,
                    shown: shown.unsigned_abs(),
                    accepted: accepted.unsigned_abs(),
                    refused: refused.unsigned_abs(),
                    seconds: seconds.unsigned_abs(),
                    macs: macs.unsigned_abs(),
                }
            };
        Ok(rows.into_iter().rev().map(counts).collect())
    }

    /// Seconds lent and multiply-accumulates credited at every site, together.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn site_totals(&self) -> Result<BTreeMap<SiteKey, (u64, u64)>, StoreError> {
        let rows: Vec<(Vec<u8>, i64, i64)> =
            sqlx::query_as("SELECT site, SUM(seconds), SUM(macs) FROM site_days GROUP BY site")
                .fetch_all(&self.readers)
                .await?;
        let total = |(site, seconds, macs): (Vec<u8>, i64, i64)| {
            Ok((site_key(site)?, (seconds.unsigned_abs(), macs.unsigned_abs())))
        };
        rows.into_iter().map(total).collect()
    }
}

fn site_key(bytes: Vec<u8>) -> Result<SiteKey, StoreError> {
    bytes.try_into().map(SiteKey).map_err(|_| StoreError::Unreadable("key of a site"))
}

/// SQLite's integers have 63 bits, which nothing here reaches.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
