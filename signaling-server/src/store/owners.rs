//! Passkeys and recovery files of site owners. They are read and written seldom, when somebody comes in.

use potluck_protocol::id::NodeId;

use super::{Store, StoreError};
use crate::sites::{Passkey, PasskeyKey};

/// Passkeys at most: two of each of as many owners as there may be sites.
const MAX_PASSKEYS: i64 = 20_000;
/// A passkey that nobody used for so long makes room for another if its owner has no site, seconds.
const UNUSED_S: u64 = 7 * 24 * 60 * 60;

/// Credential, owner, kind, key, counter, and when it was made.
type Row = (Vec<u8>, Vec<u8>, i64, Vec<u8>, i64, i64);

const ADD_FILE: &str = "INSERT INTO owner_files (key, owner) VALUES (?, ?) ON CONFLICT DO NOTHING";

impl Store {
    /// The passkey of this name.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn passkey(&self, credential: &[u8]) -> Result<Option<Passkey>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT credential, owner, kind, key, counter, made_s FROM owner_passkeys
             WHERE credential = ?",
        )
        .bind(credential)
        .fetch_optional(&self.readers)
        .await?;
        row.map(passkey).transpose()
    }

    /// Passkeys of an owner, oldest first.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn passkeys_of(&self, owner: NodeId) -> Result<Vec<Passkey>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT credential, owner, kind, key, counter, made_s FROM owner_passkeys
             WHERE owner = ? ORDER BY made_s, credential",
        )
        .bind(&owner.0[..])
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter().map(passkey).collect()
    }

    /// Writes a new passkey down, and with it, if `file` says so, that its owner is the key of a recovery
    /// file. False if it is known already, or there is no room.
    ///
    /// # Errors
    /// If the database fails; nothing was changed then.
    pub(crate) async fn add_passkey(
        &self,
        passkey: &Passkey,
        file: bool,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.site_writes.begin().await?;
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM owner_passkeys")
            .fetch_one(&mut *transaction)
            .await?;
        if count >= MAX_PASSKEYS {
            let removed = sqlx::query(
                "DELETE FROM owner_passkeys WHERE credential = (SELECT credential FROM owner_passkeys p
                 WHERE used_s < ? AND NOT EXISTS (SELECT 1 FROM sites WHERE owner = p.owner)
                 ORDER BY used_s LIMIT 1)",
            )
            .bind(signed(passkey.made_s.saturating_sub(UNUSED_S)))
            .execute(&mut *transaction)
            .await?;
            if removed.rows_affected() == 0 {
                return Ok(false);
            }
            sqlx::query(
                "DELETE FROM owner_files WHERE owner NOT IN (SELECT owner FROM owner_passkeys)
                 AND owner NOT IN (SELECT owner FROM sites)",
            )
            .execute(&mut *transaction)
            .await?;
        }
        let (kind, key) = passkey.key.parts();
        let added = sqlx::query(
            "INSERT INTO owner_passkeys (credential, owner, kind, key, counter, made_s, used_s)
             VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(&passkey.credential)
        .bind(&passkey.owner.0[..])
        .bind(kind)
        .bind(key)
        .bind(i64::from(passkey.counter))
        .bind(signed(passkey.made_s))
        .bind(signed(passkey.made_s))
        .execute(&mut *transaction)
        .await?;
        if added.rows_affected() == 0 {
            return Ok(false);
        }
        if file {
            sqlx::query(ADD_FILE)
                .bind(&passkey.owner.0[..])
                .bind(&passkey.owner.0[..])
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Notes that a passkey was used. False if it has counted as far already, which is what two that
    /// come in at once see.
    ///
    /// # Errors
    /// If the database fails; nothing was changed then.
    pub(crate) async fn use_passkey(
        &self,
        credential: &[u8],
        counter: u32,
        now_s: u64,
    ) -> Result<bool, StoreError> {
        let used = sqlx::query(
            "UPDATE owner_passkeys SET counter = ?1, used_s = ?2
             WHERE credential = ?3 AND (counter < ?1 OR (counter = 0 AND ?1 = 0))",
        )
        .bind(i64::from(counter))
        .bind(signed(now_s))
        .bind(credential)
        .execute(&self.site_writes)
        .await?;
        Ok(used.rows_affected() == 1)
    }

    /// Forgets a passkey, unless it is the only way into its account. False if it is, or is not the
    /// owner's.
    ///
    /// # Errors
    /// If the database fails; nothing was changed then.
    pub(crate) async fn remove_passkey(
        &self,
        owner: NodeId,
        credential: &[u8],
    ) -> Result<bool, StoreError> {
        let removed = sqlx::query(
            "DELETE FROM owner_passkeys WHERE credential = ?1 AND owner = ?2 AND
             ((SELECT COUNT(*) FROM owner_passkeys WHERE owner = ?2) > 1
             OR EXISTS (SELECT 1 FROM owner_files WHERE owner = ?2))",
        )
        .bind(credential)
        .bind(&owner.0[..])
        .execute(&self.site_writes)
        .await?;
        Ok(removed.rows_affected() == 1)
    }

    /// The account that the key of a recovery file opens, if it is not the key's own.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn account_of(&self, key: NodeId) -> Result<Option<NodeId>, StoreError> {
        let owner: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT owner FROM owner_files WHERE key = ?")
                .bind(&key.0[..])
                .fetch_optional(&self.readers)
                .await?;
        owner.map(node).transpose()
    }

    /// How many recovery files open an account that has passkeys.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn files_of(&self, owner: NodeId) -> Result<u32, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM owner_files WHERE owner = ?")
            .bind(&owner.0[..])
            .fetch_one(&self.readers)
            .await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Writes down that a key opens an account. False if it opens one already.
    ///
    /// # Errors
    /// If the database fails; nothing was changed then.
    pub(crate) async fn add_file(&self, key: NodeId, owner: NodeId) -> Result<bool, StoreError> {
        let adding = sqlx::query(ADD_FILE).bind(&key.0[..]).bind(&owner.0[..]);
        let added = adding.execute(&self.site_writes).await?;
        Ok(added.rows_affected() == 1)
    }
}

fn passkey((credential, owner, kind, key, counter, made_s): Row) -> Result<Passkey, StoreError> {
    Ok(Passkey {
        credential,
        owner: node(owner)?,
        key: PasskeyKey::of(kind, &key).ok_or(StoreError::Unreadable("key of a passkey"))?,
        counter: u32::try_from(counter).unwrap_or(u32::MAX),
        made_s: made_s.unsigned_abs(),
    })
}

fn node(bytes: Vec<u8>) -> Result<NodeId, StoreError> {
    bytes.try_into().map(NodeId).map_err(|_| StoreError::Unreadable("owner"))
}

/// SQLite's integers have 63 bits, which no time reaches.
fn signed(time_s: u64) -> i64 {
    i64::try_from(time_s).unwrap_or(i64::MAX)
}
