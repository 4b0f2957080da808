//! The schema, as the numbered files of `migrations/` make it one after the other.
//!
//! They are listed here instead of by `sqlx::migrate!`: that macro brings the whole of SQLite into
//! the compiler's own process, so everybody who builds the server would compile it twice.

use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnection;

use super::StoreError;

macro_rules! migrations {
    ($($version:literal $description:literal $file:literal),+ $(,)?) => {
        [$(Migration::new(
            $version,
            Cow::Borrowed($description),
            MigrationType::Simple,
            include_str!(concat!("../../migrations/", $file)).into_sql_str(),
            false,
        )),+]
    };
}

/// Brings a database, new or made by any version before, to the present schema.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    migrate_to(connection, i64::MAX).await
}

/// The same up to a number, which makes a database as earlier versions left it.
pub(super) async fn migrate_to(
    connection: &mut SqliteConnection,
    last: i64,
) -> Result<(), StoreError> {
    let migrations = migrations![
        1 "receipts and postings" "0001_receipts_and_postings.sql",
        2 "stages and age of sessions" "0002_stages_and_age_of_sessions.sql",
        3 "accounts" "0003_accounts.sql",
        4 "sites" "0004_sites.sql",
        5 "rooms" "0005_rooms.sql",
        6 "days" "0006_days.sql",
        7 "people" "0007_people.sql",
        9 "owners" "0009_owners.sql",
    ];
    let wanted: Vec<Migration> =
        migrations.into_iter().filter(|migration| migration.version <= last).collect();
    Ok(Migrator::with_migrations(wanted).run(connection).await?)
}
