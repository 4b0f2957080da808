//! The swarms of one server: the public one, and those of people who share a secret.
//!
//! Each has a hub of its own, and with it its own scheduler, members and view; models, disk and limits
//! are common. A room is there as long as somebody is in it, and is made for the first who shows its
//! pass: nothing has to be set up, and nothing is kept but its tally.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use potluck_protocol::room::{RoomId, RoomPass};
use tokio::time::Instant;

use crate::authority::Authority;
use crate::board::{Board, Sources};
use crate::hub::Hub;
use crate::models::Models;
use crate::page_index::PageIndex;
use crate::scheduler::{Scheduler, Settings};
use crate::store::Store;

/// One swarm.
#[derive(Debug)]
pub(crate) struct Room {
    /// `None` is the public one.
    pub(crate) id: Option<RoomId>,
    /// Those that are computed in it; the first is.
    pub(crate) models: Arc<Models>,
    pub(crate) hub: Hub,
    pub(crate) board: Arc<Board>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Rooms {
    maker: Maker,
    public: Arc<Room>,
    private: Mutex<HashMap<RoomId, Weak<Room>>>,
}

/// What every room is made of.
#[derive(Debug)]
pub(crate) struct Maker {
    pub(crate) models: Arc<Models>,
    pub(crate) store: Store,
    pub(crate) authority: Arc<Authority>,
    pub(crate) page: Option<Arc<PageIndex>>,
    pub(crate) plan_delay: Duration,
    pub(crate) same_address_earns: bool,
    /// When `now` of every hub begins.
    pub(crate) start: Instant,
}

/// No room can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoomError {
    /// There are as many as there may be.
    #[error("this server has {MAX_ROOMS} rooms, and no place for another; try again later")]
    TooMany,
    /// It is about a model that is not there.
    #[error("this room computes a model that this server does not have")]
    NoSuchModel,
    /// The names of its sessions could be guessed.
    #[error("the server has no randomness")]
    NoRandomness,
}

/// Rooms with somebody in them: a task and some ten kilobytes each.
const MAX_ROOMS: usize = 1_000;

impl Maker {
    fn make(&self, pass: Option<RoomPass>) -> Result<Arc<Room>, RoomError> {
        let id = pass.map(|pass| pass.room());
        let models = match pass.and_then(|pass| pass.model) {
            Some(model) => Arc::new(self.models.only(model).ok_or(RoomError::NoSuchModel)?),
            None => Arc::clone(&self.models),
        };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| RoomError::NoRandomness)?;
        let scheduler = Scheduler::new(Settings {
            models: Arc::clone(&models),
            authority: Arc::clone(&self.authority),
            plan_delay: self.plan_delay,
            same_address_earns: self.same_address_earns,
            seed,
        });
        let hub = Hub::start(scheduler, self.start);
        let board = Arc::new(Board::new(Sources {
            room: id,
            hub: hub.clone(),
            store: self.store.clone(),
            models: Arc::clone(&models),
            page: self.page.clone(),
        }));
        Ok(Arc::new(Room { id, models, hub, board }))
    }
}

impl Rooms {
    /// With the public one.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub(crate) fn new(maker: Maker) -> Result<Self, RoomError> {
        let public = maker.make(None)?;
        Ok(Self { maker, public, private: Mutex::default() })
    }

    /// The public swarm.
    pub(crate) fn public(&self) -> &Arc<Room> {
        &self.public
    }

    /// Where a member who shows this pass belongs. The room stays as long as what is returned.
    ///
    /// # Errors
    /// If it would be one room too many, or there is no such model.
    pub(crate) fn enter(&self, pass: Option<RoomPass>) -> Result<Arc<Room>, RoomError> {
        let Some(pass) = pass else { return Ok(Arc::clone(&self.public)) };
        let mut private = self.private.lock().unwrap_or_else(PoisonError::into_inner);
        let id = pass.room();
        // One whose hub's task has panicked is as good as none: another takes its place.
        if let Some(room) = private.get(&id).and_then(Weak::upgrade).filter(|it| it.hub.is_up()) {
            return Ok(room);
        }
        if private.len() >= MAX_ROOMS {
            private.retain(|_, room| room.strong_count() > 0);
            if private.len() >= MAX_ROOMS {
                return Err(RoomError::TooMany);
            }
        }
        let room = self.maker.make(Some(pass))?;
        private.insert(id, Arc::downgrade(&room));
        Ok(room)
    }

    /// The room of a pass, if somebody is in it.
    pub(crate) fn find(&self, pass: RoomPass) -> Option<Arc<Room>> {
        let private = self.private.lock().unwrap_or_else(PoisonError::into_inner);
        private.get(&pass.room()).and_then(Weak::upgrade)
    }

    /// Those with somebody in them, the public one too.
    fn all(&self) -> Vec<Arc<Room>> {
        let private = self.private.lock().unwrap_or_else(PoisonError::into_inner);
        let private = private.values().filter_map(Weak::upgrade);
        std::iter::once(Arc::clone(&self.public)).chain(private).collect()
    }

    /// Ends every connection in every room, and those that are still to come.
    pub(crate) async fn stop(&self) {
        for room in self.all() {
            room.hub.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::room::{ModelTag, RoomSecret};
    use tempfile::TempDir;

    use super::*;
    use crate::authority::tests::authority;
    use crate::models::ModelInfo;
    use crate::models::tests::model;

    async fn rooms(folder: &TempDir) -> Rooms {
        rooms_of(Models::open(folder.path()).expect("no models yet"), folder).await
    }

    async fn rooms_of(models: Models, folder: &TempDir) -> Rooms {
        let store = Store::open(folder.path()).await.expect("a database");
        Rooms::new(Maker {
            models: Arc::new(models),
            store,
            authority: authority(),
            page: None,
            plan_delay: Duration::ZERO,
            same_address_earns: false,
            start: Instant::now(),
        })
        .expect("randomness")
    }

    fn pass(seed: usize) -> RoomPass {
        let mut secret = [0; 16];
        secret[..8].copy_from_slice(&seed.to_le_bytes());
        RoomSecret(secret).pass()
    }

    #[tokio::test]
    async fn a_room_is_there_as_long_as_somebody_is_in_it() {
        let folder = TempDir::new().expect("a folder");
        let rooms = rooms(&folder).await;
        assert!(rooms.find(pass(1)).is_none(), "nobody is in it");
        let first = rooms.enter(Some(pass(1))).expect("there is room");
        let second = rooms.enter(Some(pass(1))).expect("it is there");
        assert!(Arc::ptr_eq(&first, &second));
        assert!(rooms.find(pass(1)).is_some());
        assert_eq!(first.id, Some(pass(1).room()));
        assert!(!Arc::ptr_eq(&first, &rooms.enter(Some(pass(2))).expect("there is room")));
        assert!(Arc::ptr_eq(rooms.public(), &rooms.enter(None).expect("always there")));
        drop((first, second));
        assert!(rooms.find(pass(1)).is_none());
    }

    #[tokio::test]
    async fn a_room_computes_the_model_that_it_is_about() {
        let folder = TempDir::new().expect("a folder");
        let mut models = Models::default();
        for (layers, name) in [(2, "first"), (3, "second")] {
            models.add(ModelInfo { name: name.to_owned(), ..model(layers) });
        }
        let rooms = rooms_of(models, &folder).await;
        let enter = |name: Option<&str>| {
            rooms.enter(Some(RoomPass { model: name.map(ModelTag::of), ..pass(1) }))
        };
        let names = |room: &Room| {
            room.models.summaries().into_iter().map(|model| model.name).collect::<Vec<_>>()
        };
        let second = enter(Some("second")).expect("there is it");
        assert_eq!(names(&second), ["second"]);
        let usual = enter(None).expect("there is room");
        assert_eq!(names(&usual), ["first", "second"]);
        assert_ne!(second.id, usual.id);
        assert_eq!(enter(Some("third")).err(), Some(RoomError::NoSuchModel));
    }

    #[tokio::test]
    async fn rooms_are_bounded_and_empty_ones_make_place() {
        let folder = TempDir::new().expect("a folder");
        let rooms = rooms(&folder).await;
        let mut held: Vec<_> =
            (0..MAX_ROOMS).map(|n| rooms.enter(Some(pass(n))).expect("there is room")).collect();
        assert_eq!(rooms.enter(Some(pass(MAX_ROOMS))).err(), Some(RoomError::TooMany));
        assert!(rooms.enter(Some(pass(0))).is_ok(), "those that are there can be entered");
        assert!(rooms.enter(None).is_ok());
        held.pop();
        assert!(rooms.enter(Some(pass(MAX_ROOMS))).is_ok());
    }
}
