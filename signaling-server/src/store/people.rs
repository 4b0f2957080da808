//! What volunteers said of themselves, and their teams. Like sites, it is written seldom.

use std::collections::HashMap;

use potluck_protocol::id::{NodeId, TeamId};
use potluck_protocol::people::{OwnTeam, PersonView, TeamView};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Sqlite, Transaction};

use super::{Store, StoreError};

/// Teams that one node makes at most.
pub(crate) const MAX_TEAMS_OF_MAKER: u32 = 8;
/// Members of a team at most: one that is larger than this is a swarm of its own.
pub(crate) const MAX_MEMBERS: u32 = 1_000;

/// What is to be written down of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Its name; none takes back what was said before.
    Name(Option<String>),
    /// It makes this team, and is in it.
    Make(TeamId, String),
    /// It is in this team.
    Join(TeamId),
    /// It is in none.
    Leave,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// It is written down. True if this node had said nothing before and has earned nothing: nobody
    /// but itself vouches for it.
    Yes {
        /// As above.
        is_newcomer: bool,
    },
    /// Something as new, or newer, is written down already.
    Old,
    /// There is no such team.
    NoTeam,
    /// The team is full.
    TeamIsFull,
    /// This node has made enough.
    TooManyTeams,
}

impl Store {
    /// Writes down what a node said at this time, milliseconds since 1970, if it is the newest.
    ///
    /// # Errors
    /// If the database fails; nothing was changed then.
    pub(crate) async fn note(
        &self,
        node: NodeId,
        at_ms: u64,
        said: &Said,
    ) -> Result<Noted, StoreError> {
        let mut transaction = self.site_writes.begin_with("BEGIN IMMEDIATE").await?;
        let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
        let before: Option<(i64, Option<Vec<u8>>)> =
            sqlx::query_as("SELECT said_ms, team FROM people WHERE node = ?")
                .bind(&node.0[..])
                .fetch_optional(&mut *transaction)
                .await?;
        let (said_ms, old_team) = before.clone().unwrap_or((i64::MIN, None));
        if said_ms >= at_ms {
            return Ok(Noted::Old);
        }
        let refused = match said {
            Said::Name(_) | Said::Leave => None,
            Said::Make(team, name) => make_team(&mut transaction, node, *team, name).await?,
            Said::Join(team) if old_team.as_deref() == Some(&team.0[..]) => None,
            Said::Join(team) => may_join(&mut transaction, *team).await?,
        };
        if let Some(refused) = refused {
            return Ok(refused);
        }
        sqlx::query(
            "INSERT INTO people (node, said_ms) VALUES (?, ?)
             ON CONFLICT (node) DO UPDATE SET said_ms = excluded.said_ms",
        )
        .bind(&node.0[..])
        .bind(at_ms)
        .execute(&mut *transaction)
        .await?;
        match said {
            Said::Name(name) => {
                sqlx::query("UPDATE people SET name = ? WHERE node = ?")
                    .bind(name.as_deref())
                    .bind(&node.0[..])
                    .execute(&mut *transaction)
                    .await?;
            }
            Said::Make(team, _) | Said::Join(team) => {
                move_to(&mut transaction, node, Some(*team)).await?;
            }
            Said::Leave => move_to(&mut transaction, node, None).await?,
        }
        let has_earned: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM accounts WHERE node = ? AND earned_macs > 0)",
        )
        .bind(&node.0[..])
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Noted::Yes { is_newcomer: before.is_none() && !has_earned })
    }

    /// What is known of a node.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn person(&self, node: NodeId) -> Result<PersonView, StoreError> {
        let row: Option<(Option<String>, Option<Vec<u8>>)> =
            sqlx::query_as("SELECT name, team FROM people WHERE node = ?")
                .bind(&node.0[..])
                .fetch_optional(&self.readers)
                .await?;
        let (called, team) = row.unwrap_or_default();
        let team = match team {
            Some(id) => self.own_team(id).await?,
            None => None,
        };
        Ok(PersonView { node, called, team })
    }

    async fn own_team(&self, id: Vec<u8>) -> Result<Option<OwnTeam>, StoreError> {
        let id = TeamId(id.try_into().map_err(|_| StoreError::Unreadable("team"))?);
        let Some(TeamView { name, members }) = self.team(id).await? else { return Ok(None) };
        let earned: i64 = sqlx::query_scalar(
            "SELECT COALESCE(SUM(earned_macs), 0) FROM team_days WHERE team = ? AND day = 0",
        )
        .bind(&id.0[..])
        .fetch_one(&self.readers)
        .await?;
        Ok(Some(OwnTeam { id, name, members, credit_macs: earned.unsigned_abs() }))
    }

    /// A team, if there is one of this id.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn team(&self, id: TeamId) -> Result<Option<TeamView>, StoreError> {
        let row: Option<(String, u32)> = sqlx::query_as(
            "SELECT name, (SELECT COUNT(*) FROM people WHERE team = teams.id) FROM teams
             WHERE id = ?",
        )
        .bind(&id.0[..])
        .fetch_optional(&self.readers)
        .await?;
        Ok(row.map(|(name, members)| TeamView { name, members }))
    }

    /// The names that these nodes chose, of those that did.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn names(
        &self,
        nodes: &[NodeId],
    ) -> Result<HashMap<NodeId, String>, StoreError> {
        let mut names = HashMap::new();
        for node in nodes {
            let name: Option<Option<String>> =
                sqlx::query_scalar("SELECT name FROM people WHERE node = ?")
                    .bind(&node.0[..])
                    .fetch_optional(&self.readers)
                    .await?;
            names.extend(name.flatten().map(|name| (*node, name)));
        }
        Ok(names)
    }

    /// How many have said something and earned nothing.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn newcomers(&self) -> Result<u32, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT COUNT(*) FROM people p LEFT JOIN accounts a ON a.node = p.node
             WHERE COALESCE(a.earned_macs, 0) = 0",
        )
        .fetch_one(&self.readers)
        .await?)
    }
}

/// True if anybody is in a team.
pub(super) async fn has_members(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM people WHERE team IS NOT NULL)")
        .fetch_one(connection)
        .await
}

/// Adds what a node has just earned to its team, if it is in one. Called in the transaction that
/// credits, so that it counts for whichever team the node is in at that moment.
pub(super) async fn credit_team(
    connection: &mut SqliteConnection,
    node: NodeId,
    macs: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO team_days (team, class, day, earned_macs)
         SELECT p.team, COALESCE(a.class, 'browser'), d.day, ?
         FROM people p JOIN accounts a ON a.node = p.node,
             (SELECT 0 AS day UNION ALL SELECT unixepoch() / 86400) d
         WHERE p.node = ? AND p.team IS NOT NULL
         ON CONFLICT (team, class, day) DO UPDATE SET
             earned_macs = earned_macs + excluded.earned_macs",
    )
    .bind(macs)
    .bind(&node.0[..])
    .execute(connection)
    .await
    .map(drop)
}

/// Forgets those who said something more than a month ago and never earned anything, and teams that
/// nobody is in and nobody earned anything for.
pub(super) async fn forget_strangers(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM people WHERE said_ms < (unixepoch() - 30 * 86400) * 1000
         AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.node = people.node AND a.earned_macs > 0)",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM team_days WHERE day > 0 AND day < unixepoch() / 86400 - ?")
        .bind(super::days::KEPT_DAYS)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "DELETE FROM teams WHERE NOT EXISTS (SELECT 1 FROM people WHERE team = teams.id)
         AND NOT EXISTS (SELECT 1 FROM team_days WHERE team = teams.id)",
    )
    .execute(connection)
    .await
    .map(drop)
}

async fn make_team(
    transaction: &mut Transaction<'_, Sqlite>,
    node: NodeId,
    team: TeamId,
    name: &str,
) -> Result<Option<Noted>, sqlx::Error> {
    let made: u32 = sqlx::query_scalar("SELECT COUNT(*) FROM teams WHERE made_by = ?")
        .bind(&node.0[..])
        .fetch_one(&mut **transaction)
        .await?;
    if made >= MAX_TEAMS_OF_MAKER {
        return Ok(Some(Noted::TooManyTeams));
    }
    sqlx::query("INSERT INTO teams (id, name, made_by, made_s) VALUES (?, ?, ?, unixepoch())")
        .bind(&team.0[..])
        .bind(name)
        .bind(&node.0[..])
        .execute(&mut **transaction)
        .await?;
    Ok(None)
}

/// Why nobody may join this team now, if so.
async fn may_join(
    transaction: &mut Transaction<'_, Sqlite>,
    team: TeamId,
) -> Result<Option<Noted>, sqlx::Error> {
    let members: Option<u32> = sqlx::query_scalar(
        "SELECT (SELECT COUNT(*) FROM people WHERE team = teams.id) FROM teams WHERE id = ?",
    )
    .bind(&team.0[..])
    .fetch_optional(&mut **transaction)
    .await?;
    Ok(match members {
        None => Some(Noted::NoTeam),
        Some(members) if members >= MAX_MEMBERS => Some(Noted::TeamIsFull),
        Some(_) => None,
    })
}

async fn move_to(
    transaction: &mut Transaction<'_, Sqlite>,
    node: NodeId,
    team: Option<TeamId>,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE people SET team = ? WHERE node = ?")
        .bind(team.map(|team| team.0.to_vec()))
        .bind(&node.0[..])
        .execute(&mut **transaction)
        .await
        .map(drop)
}
