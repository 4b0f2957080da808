//! Fills a server's table of receipts with older ones, fast: copies of one that it credited itself,
//! by SQL into the file while no server runs.
//!
//! Each copy has an id and a session of its own, drawn at random as real ones are, and belongs to
//! one of ten thousand stages. Their signatures are the first one's and would not hold; nothing
//! looks at them again. Columns are taken as they come, so that a new one needs nothing here.

use std::path::Path;

use anyhow::{Context as _, ensure};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

/// Stages that the copies belong to.
const STAGES: usize = 10_000;

/// Adds `count` receipts to the data folder's database.
pub(super) async fn fill(data: &Path, count: usize) -> anyhow::Result<()> {
    let mut database = SqliteConnectOptions::new()
        .filename(data.join("potluck.sqlite"))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Off)
        .foreign_keys(false)
        .connect()
        .await
        .context("the server's database cannot be opened")?;
    let receipts = columns(&mut database, "receipts").await?;
    ensure!(!receipts.is_empty(), "the server has no table of receipts any more");
    let copied = |columns: &[String], of: &str, drawn: &[(&str, &str)]| {
        let column = |name: &String| {
            drawn
                .iter()
                .find(|(column, _)| column == name)
                .map_or_else(|| format!("{of}.{name}"), |(_, value)| (*value).to_owned())
        };
        columns.iter().map(column).collect::<Vec<_>>().join(", ")
    };
    // The key of the `n`th stage: 32 bytes.
    let stage = format!("CAST(printf('stage %026d', n % {STAGES}) AS BLOB)");
    let drawn = [("id", "randomblob(32)"), ("session", "randomblob(16)"), ("stage", &stage)];
    let sql = format!(
        "WITH RECURSIVE numbers (n) AS
         (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
         INSERT INTO receipts ({}) SELECT {} FROM numbers,
         (SELECT * FROM receipts LIMIT 1) AS first",
        receipts.join(", "),
        copied(&receipts, "first", &drawn),
    );
    run(&mut database, &sql).await?;
    // Before version 3 of the schema credit was in a table of postings, since then it is in
    // accounts.
    let postings = columns(&mut database, "postings").await?;
    if !postings.is_empty() {
        let earner = "CASE first.account WHEN 'earned' THEN r.stage ELSE first.node END";
        let sql = format!(
            "INSERT INTO postings ({}) SELECT {} FROM receipts r,
             (SELECT * FROM postings WHERE receipt = (SELECT receipt FROM postings LIMIT 1)) AS first
             WHERE r.id NOT IN (SELECT receipt FROM postings)",
            postings.join(", "),
            copied(&postings, "first", &[("receipt", "r.id"), ("node", earner)]),
        );
        run(&mut database, &sql).await?;
    }
    let accounts = columns(&mut database, "accounts").await?;
    if !accounts.is_empty() {
        let sql = format!(
            "WITH RECURSIVE numbers (n) AS
             (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {STAGES} - 1)
             INSERT INTO accounts ({}) SELECT {} FROM numbers,
             (SELECT * FROM accounts ORDER BY earned_macs DESC LIMIT 1) AS first",
            accounts.join(", "),
            copied(&accounts, "first", &[("node", &stage)]),
        );
        run(&mut database, &sql).await?;
    }
    run(&mut database, "PRAGMA wal_checkpoint(TRUNCATE)").await?;
    database.close().await?;
    Ok(())
}

async fn columns(database: &mut SqliteConnection, table: &str) -> anyhow::Result<Vec<String>> {
    Ok(sqlx::query_scalar("SELECT name FROM pragma_table_info(?)")
        .bind(table)
        .fetch_all(database)
        .await?)
}

/// Table and column names of the database itself, and numbers.
async fn run(database: &mut SqliteConnection, sql: &str) -> anyhow::Result<()> {
    sqlx::query(AssertSqlSafe(sql)).execute(database).await?;
    Ok(())
}
