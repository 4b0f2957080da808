//! What volunteers say of themselves: whether it is signed, for this server, new, and a name that may
//! be shown. The store keeps the newest of each.
//!
//! Anybody can make keys, so a key that has earned nothing is taken at its word only while there are
//! few of its kind, and is forgotten after a month.

mod limits;
mod names;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use potluck_protocol::id::TeamId;
use potluck_protocol::people::{PersonView, Says, SignedStatement, Statement};

use crate::calendar::unix_now_s;
use crate::store::{MAX_MEMBERS, MAX_TEAMS_OF_MAKER, Noted, Said, Store, StoreError};
use limits::Limits;

/// Everybody's statements.
#[derive(Debug)]
pub(crate) struct People {
    store: Store,
    limits: Mutex<Limits>,
    /// Those who have said something and earned nothing: counted when the server starts, and from
    /// then on as they come.
    newcomers: AtomicU32,
}

/// A statement as it came in.
pub(crate) struct Heard<'a> {
    pub(crate) signed: &'a SignedStatement,
    /// True for an origin of this server.
    pub(crate) is_own: &'a (dyn Fn(&str) -> bool + Sync),
    /// It came with a room's pass.
    pub(crate) is_in_room: bool,
    /// Whom it came from, as connections are counted.
    pub(crate) from: IpAddr,
}

/// Why a statement does not count. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeopleError {
    /// Its node did not sign it, or it is none.
    #[error("the statement is not signed by its node's key, or is none that this server knows")]
    Unsigned,
    /// It was signed for another server.
    #[error("the statement was signed for {0}, which this server does not know as its own")]
    OtherServer(String),
    /// It was signed too long ago, or in the future.
    #[error(
        "the statement was signed more than {FRESH_S} s from now: set this computer's clock, then try again"
    )]
    Stale,
    /// A newer one is known.
    #[error("this key has said something newer already; try again")]
    Old,
    /// It is no name.
    #[error("this cannot be a name: {0}")]
    Name(#[from] names::NoName),
    /// Teams are public.
    #[error("teams are of the public swarm; leave the room first")]
    InRoom,
    /// There is no such team.
    #[error("there is no such team on this server; ask for its link again")]
    NoTeam,
    /// The team is full.
    #[error("this team has {MAX_MEMBERS} members, and no room for another")]
    TeamIsFull,
    /// No more teams of this node.
    #[error("a key makes at most {MAX_TEAMS_OF_MAKER} teams")]
    TooManyTeams,
    /// Too many from one address.
    #[error("too many statements from this address; try again in an hour")]
    TooMany,
    /// Too many who have earned nothing.
    #[error(
        "too many who have not computed anything yet have said something; lend this computer until it \
         is credited, then try again"
    )]
    TooManyNewcomers,
    /// The system has no randomness.
    #[error("the server has no randomness")]
    NoRandomness,
    /// The database fails.
    #[error("the database failed")]
    Store(#[from] StoreError),
}

/// How far a statement's time may be from the server's, seconds.
const FRESH_S: u64 = 5 * 60;
/// Keys that have said something and earned nothing: two megabytes.
const MAX_NEWCOMERS: u32 = 20_000;

impl People {
    /// Counts those who are known.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn open(store: Store) -> Result<Self, StoreError> {
        let newcomers = AtomicU32::new(store.newcomers().await?);
        Ok(Self { store, limits: Mutex::default(), newcomers })
    }

    /// Takes a statement in; what is known of its node then.
    ///
    /// # Errors
    /// Why it does not count.
    pub(crate) async fn hear(&self, heard: Heard<'_>) -> Result<PersonView, PeopleError> {
        let statement = self.admit(&heard, unix_now_s())?;
        let node = heard.signed.node;
        let Statement { at_ms, says, .. } = statement;
        if let Some(said) = said(says, heard.is_in_room)? {
            if self.newcomers.load(Ordering::Relaxed) >= MAX_NEWCOMERS
                && self.store.earned_macs(node).await? == 0
            {
                return Err(PeopleError::TooManyNewcomers);
            }
            match self.store.note(node, at_ms, &said).await? {
                Noted::Yes { is_newcomer } => {
                    self.newcomers.fetch_add(u32::from(is_newcomer), Ordering::Relaxed);
                }
                Noted::Old => return Err(PeopleError::Old),
                Noted::NoTeam => return Err(PeopleError::NoTeam),
                Noted::TeamIsFull => return Err(PeopleError::TeamIsFull),
                Noted::TooManyTeams => return Err(PeopleError::TooManyTeams),
            }
        }
        Ok(self.store.person(node).await?)
    }

    /// What is said, if it was signed for this server just now.
    fn admit(&self, heard: &Heard<'_>, now_s: u64) -> Result<Statement, PeopleError> {
        {
            let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
            if !limits.take(heard.from, now_s) {
                return Err(PeopleError::TooMany);
            }
        }
        let statement = heard.signed.read().ok_or(PeopleError::Unsigned)?;
        if !(heard.is_own)(&statement.to) {
            return Err(PeopleError::OtherServer(statement.to.chars().take(100).collect()));
        }
        if (statement.at_ms / 1_000).abs_diff(now_s) > FRESH_S {
            return Err(PeopleError::Stale);
        }
        Ok(statement)
    }
}

/// What is to be written down; nothing for who only looks.
fn said(says: Says, is_in_room: bool) -> Result<Option<Said>, PeopleError> {
    if is_in_room && matches!(says, Says::Make { .. } | Says::Join { .. }) {
        return Err(PeopleError::InRoom);
    }
    Ok(Some(match says {
        Says::Look => return Ok(None),
        Says::Name { name } if name.is_empty() => Said::Name(None),
        Says::Name { name } => Said::Name(Some(names::check(name)?)),
        Says::Make { name } => {
            let name = names::check(name)?;
            let mut id = [0; 16];
            getrandom::fill(&mut id).map_err(|_| PeopleError::NoRandomness)?;
            Said::Make(TeamId(id), name)
        }
        Says::Join { team } => Said::Join(team),
        Says::Leave => Said::Leave,
    }))
}

#[cfg(test)]
mod tests;
