//! Boards, teams' totals and receipts, by values.

use potluck_protocol::api::{BoardOf, Period};
use potluck_protocol::id::TeamId;
use potluck_protocol::room::RoomId;

use super::*;

const TEAM: TeamId = TeamId([5; 16]);

fn on(class: HardwareClass, work: Work) -> Work {
    Work { class: Some(class), ..work }
}

async fn boards(store: &Store, of: BoardOf, period: Period) -> Vec<(HardwareClass, u64)> {
    let today = store.today().await.unwrap();
    let places = store.places(None, of, period, today).await.unwrap();
    places.into_iter().map(|one| (one.class, one.macs)).collect()
}

#[tokio::test]
async fn credit_counts_for_the_team_that_its_node_is_in_at_that_moment() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let class = HardwareClass::Graphics;
    store.credit(on(class, work(7, 0, 0, 10))).await;
    let newcomer = store.note(node(9), 1, &Said::Make(TEAM, "Bakers".to_owned())).await.unwrap();
    assert_eq!(newcomer, Noted::Yes { is_newcomer: true });
    let joined = store.note(node(STAGE), 1, &Said::Join(TEAM)).await.unwrap();
    assert_eq!(joined, Noted::Yes { is_newcomer: false }, "it has earned something");
    assert_eq!(store.newcomers().await.unwrap(), 1);
    store.credit(on(class, work(7, 1, 10, 30))).await;
    // What is done in a room is no team's.
    let in_room = Work { room: Some(RoomId([1; 16])), ..on(class, work(8, 0, 0, 5)) };
    store.credit(in_room).await;
    let now_slower = on(HardwareClass::Phone, work(7, 2, 30, 31));
    store.credit(now_slower).await;
    store.note(node(STAGE), 2, &Said::Leave).await.unwrap();
    store.credit(on(class, work(7, 3, 31, 50))).await;
    let earned = [(HardwareClass::Graphics, 20_000), (HardwareClass::Phone, 1_000)];
    for period in [Period::Week, Period::All] {
        assert_eq!(boards(&store, BoardOf::Teams, period).await, earned, "{period:?}");
    }
    assert_eq!(boards(&store, BoardOf::Teams, Period::Before).await, []);
    let member = store.person(node(9)).await.unwrap().team.unwrap();
    assert_eq!((member.members, member.credit_macs), (1, 21_000));
    // People are beside those whose hardware is as theirs is now, with all they earned.
    assert_eq!(boards(&store, BoardOf::People, Period::All).await, [(class, 55_000)]);
}

#[tokio::test]
async fn a_board_is_of_its_week_and_room_and_names_who_chose_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.credit(on(HardwareClass::Native, work(7, 0, 0, 10))).await;
    store.note(node(STAGE), 1, &Said::Name(Some("Rosa".to_owned()))).await.unwrap();
    let today = store.today().await.unwrap();
    let of = async |room, period, today| {
        store.places(room, BoardOf::People, period, today).await.unwrap()
    };
    let rosa = Placed {
        class: HardwareClass::Native,
        key: node(STAGE).0.to_vec(),
        called: Some("Rosa".to_owned()),
        macs: 10_000,
    };
    assert_eq!(of(None, Period::Week, today).await, std::slice::from_ref(&rosa));
    assert_eq!(of(None, Period::Before, today + 7).await, [rosa]);
    for (period, day) in
        [(Period::Week, today + 7), (Period::Before, today), (Period::Before, today + 14)]
    {
        assert_eq!(of(None, period, day).await, [], "{period:?}");
    }
    assert_eq!(of(Some(RoomId([1; 16])), Period::All, today).await, []);
    let tally = store.contributors(None, 10).await.unwrap();
    assert_eq!(tally[0].called.as_deref(), Some("Rosa"));
    let names = store.names(&[node(STAGE), node(9)]).await.unwrap();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), [(node(STAGE), "Rosa".to_owned())]);
}

#[tokio::test]
async fn receipts_are_paged_newest_first_and_a_rooms_are_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    for n in 0..5 {
        store.credit(work(7, n, n, n + 1)).await;
    }
    let page =
        async |room, before, limit| store.receipts(node(STAGE), room, before, limit).await.unwrap();
    let first = page(None, None, 2).await;
    let sequences = |page: &[Filed]| -> Vec<u32> {
        page.iter().map(|one| one.signed.receipt.sequence).collect()
    };
    assert_eq!(sequences(&first), [4, 3]);
    assert!(first.iter().all(|one| one.signed.is_signed_by_both() && one.credited_s.is_some()));
    assert_eq!(sequences(&page(None, Some(first[1].number), 100).await), [2, 1, 0]);
    assert_eq!(page(Some(RoomId([1; 16])), None, 100).await, []);
    assert_eq!(store.receipts(node(REQUESTER), None, None, 100).await.unwrap(), []);
}

#[tokio::test]
async fn strangers_are_forgotten_and_those_who_earned_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.credit(work(7, 0, 0, 10)).await;
    store.note(node(9), 1, &Said::Make(TEAM, "Bakers".to_owned())).await.unwrap();
    store.note(node(STAGE), 1, &Said::Name(Some("Rosa".to_owned()))).await.unwrap();
    store.close().await;
    let store = Store::open(folder.path()).await.unwrap();
    assert_eq!(store.team(TEAM).await.unwrap(), None, "nobody is in it any more");
    assert_eq!(store.person(node(9)).await.unwrap().team, None);
    assert_eq!(store.person(node(STAGE)).await.unwrap().called.as_deref(), Some("Rosa"));
}
