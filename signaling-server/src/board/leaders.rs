//! The boards: who earned most, by class of hardware and week. They are made when somebody asks, and
//! then for everybody who does in the next moments: reading them takes a share of the disk's time
//! that is bounded, whatever there is to read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::api::{BOARD_ROWS, BoardOf, BoardView, HardwareClass, Period, PlaceView};
use potluck_protocol::id::TeamId;
use potluck_protocol::room::RoomId;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::BoardError;
use crate::store::{Placed, Store, StoreError};

/// They are made anew at most so often.
const EVERY: Duration = Duration::from_secs(2);
/// And in at most one part of so many of the time.
const SHARE: u32 = 30;
/// For the store to read them all: a million accounts take about a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was made last.
#[derive(Debug, Default)]
pub(super) struct Leaders {
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    /// Nothing is read before, whatever came of it the last time.
    not_before: Option<Instant>,
    /// How long reading took.
    took: Duration,
    boards: Option<Arc<Boards>>,
}

/// All boards of a swarm.
#[derive(Debug, Default)]
pub(crate) struct Boards {
    today: u32,
    boards: HashMap<(BoardOf, HardwareClass, Period), Board>,
}

/// One of them.
#[derive(Debug, Default)]
struct Board {
    /// The first of them.
    rows: Vec<PlaceView>,
    /// Everybody's place and credit.
    places: HashMap<String, (u32, u64)>,
}

impl Leaders {
    /// The boards of a room, or of the public swarm.
    pub(super) async fn latest(
        &self,
        store: &Store,
        room: Option<RoomId>,
    ) -> Result<Arc<Boards>, BoardError> {
        let mut made = self.made.lock().await;
        let start = Instant::now();
        if made.not_before.is_none_or(|at| at <= start) {
            // Noted first: whoever asks may go before it is read.
            made.not_before = Some(start + EVERY.max(made.took.saturating_mul(SHARE)));
            let read = timeout(PATIENCE, Boards::read(store, room)).await;
            made.took = start.elapsed();
            made.not_before = Some(Instant::now() + EVERY.max(made.took.saturating_mul(SHARE)));
            let read = read.map_err(|_| BoardError::StoreTimeout)?;
            let read = read.map_err(|error| BoardError::Store(error.into()))?;
            made.boards = Some(Arc::new(read));
        }
        made.boards.clone().ok_or(BoardError::StoreTimeout)
    }
}

impl Boards {
    async fn read(store: &Store, room: Option<RoomId>) -> Result<Self, StoreError> {
        let today = store.today().await?;
        let mut boards = Self { today, ..Self::default() };
        for of in [BoardOf::People, BoardOf::Teams] {
            for period in Period::ALL {
                boards.put(of, period, store.places(room, of, period, today).await?);
            }
        }
        Ok(boards)
    }

    /// Takes in places, in their order in each class.
    fn put(&mut self, of: BoardOf, period: Period, places: Vec<Placed>) {
        for Placed { class, key, called, macs } in places {
            let board = self.boards.entry((of, class, period)).or_default();
            let place = u32::try_from(board.places.len()).unwrap_or(u32::MAX).saturating_add(1);
            let key = name(of, &key);
            board.places.insert(key.clone(), (place, macs));
            if board.rows.len() < BOARD_ROWS {
                board.rows.push(PlaceView { place, key, called, credit_macs: macs });
            }
        }
    }

    /// One of them, with the place of `own`.
    pub(crate) fn view(
        &self,
        of: BoardOf,
        class: HardwareClass,
        period: Period,
        own: Option<&str>,
    ) -> BoardView {
        let board = self.boards.get(&(of, class, period));
        let own = own.and_then(|key| Some((key, board?.places.get(key)?)));
        BoardView {
            days: period.days(self.today),
            rows: board.map(|board| board.rows.clone()).unwrap_or_default(),
            own: own.map(|(key, (place, macs))| PlaceView {
                place: *place,
                key: key.to_owned(),
                called: None,
                credit_macs: *macs,
            }),
        }
    }
}

/// What a place is known by: a node by its key, a team by its tag.
fn name(of: BoardOf, key: &[u8]) -> String {
    match (of, key.try_into().map(TeamId)) {
        (BoardOf::Teams, Ok(team)) => team.tag(),
        _ => data_encoding::HEXLOWER.encode(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(class: HardwareClass, key: u8, macs: u64) -> Placed {
        Placed { class, key: vec![key; 32], called: (key == 1).then(|| "Rosa".to_owned()), macs }
    }

    #[test]
    fn each_class_has_its_places_and_rows_are_few() {
        let mut boards = Boards { today: 20_784, ..Boards::default() };
        let phones = (0..60).map(|key| placed(HardwareClass::Phone, key, 1_000 - u64::from(key)));
        let servers = [placed(HardwareClass::Native, 100, 1_000_000)];
        boards.put(BoardOf::People, Period::Week, phones.chain(servers).collect());
        let view =
            |class, own: Option<&str>| boards.view(BoardOf::People, class, Period::Week, own);
        let last = "3b".repeat(32);
        let phones = view(HardwareClass::Phone, Some(&last));
        assert_eq!(phones.days, Some([20_780, 20_786]));
        assert_eq!(phones.rows.len(), BOARD_ROWS);
        assert_eq!((phones.rows[1].place, phones.rows[1].called.as_deref()), (2, Some("Rosa")));
        let own = phones.own.expect("beyond the rows, and told");
        assert_eq!((own.place, own.credit_macs), (60, 941));
        let native = view(HardwareClass::Native, Some(&last));
        assert_eq!((native.rows.len(), native.rows[0].place, native.own), (1, 1, None));
        assert_eq!(view(HardwareClass::Graphics, None).rows, []);
        let all = boards.view(BoardOf::Teams, HardwareClass::Phone, Period::All, None);
        assert_eq!(all, BoardView::default());
    }

    #[test]
    fn a_teams_id_is_on_no_board() {
        let mut boards = Boards::default();
        let team = TeamId([9; 16]);
        let place =
            Placed { class: HardwareClass::Phone, key: team.0.to_vec(), called: None, macs: 1 };
        boards.put(BoardOf::Teams, Period::All, vec![place]);
        let view =
            boards.view(BoardOf::Teams, HardwareClass::Phone, Period::All, Some(&team.tag()));
        assert_eq!(view.own.map(|own| own.place), Some(1));
        let text = format!("{boards:?} {:?}", view.rows);
        assert!(!text.contains(&team.to_string()), "{text}");
    }
}
