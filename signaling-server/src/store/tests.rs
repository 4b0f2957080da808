use potluck_protocol::codec;
use potluck_protocol::id::{LayerRange, ModelId, SessionId};
use potluck_protocol::identity::Identity;
use potluck_protocol::receipt::Receipt;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::*;

mod people;

const STAGE: u8 = 1;
const REQUESTER: u8 = 2;

fn node(seed: u8) -> NodeId {
    Identity::from_seed(&[seed; 32]).node()
}

/// Work of 1,000 MAC a position.
fn work(session: u8, sequence: u32, from_position: u32, to_position: u32) -> Work {
    let (stage, requester) =
        (Identity::from_seed(&[STAGE; 32]), Identity::from_seed(&[REQUESTER; 32]));
    let receipt = Receipt {
        session: SessionId([session; 16]),
        model: ModelId([6; 32]),
        stage: stage.node(),
        requester: requester.node(),
        layers: LayerRange { first: 0, end: 6 },
        sequence,
        from_position,
        to_position,
        sampled: 0,
        output_hash: [0; 32],
    };
    let macs = 1_000 * u64::from(receipt.positions());
    let signed = SignedReceipt {
        stage_signature: receipt.sign(&stage),
        requester_signature: receipt.sign(&requester),
        receipt,
    };
    Work { signed, macs, continues: false, kind: None, class: None, room: None }
}

fn newly(balance_macs: u64) -> Credit {
    Credit::Credited { balance_macs, newly: true }
}

fn known(balance_macs: u64) -> Credit {
    Credit::Credited { balance_macs, newly: false }
}

/// What was earned, what was used, and what the receipts say. They are the same, or the books are
/// broken.
async fn sums(store: &Store) -> [i64; 3] {
    let sum = |table: &str, column: &str| format!("SELECT COALESCE(SUM({column}), 0) FROM {table}");
    let mut sums = [0; 3];
    let queries = [("accounts", "earned_macs"), ("accounts", "used_macs"), ("receipts", "macs")];
    for (place, (table, column)) in sums.iter_mut().zip(queries) {
        let query = sqlx::AssertSqlSafe(sum(table, column));
        *place = sqlx::query_scalar(query).fetch_one(&store.readers).await.unwrap();
    }
    sums
}

#[tokio::test]
async fn credit_survives_reopening_and_a_repeat_adds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    assert_eq!(store.credit(work(7, 0, 0, 64)).await, newly(64_000));
    store.close().await;

    let store = Store::open(folder.path()).await.unwrap();
    assert_eq!(store.credit(work(7, 0, 0, 64)).await, known(64_000));
    assert_eq!(store.earned_macs(node(STAGE)).await.unwrap(), 64_000);
    assert_eq!(store.earned_macs(node(REQUESTER)).await.unwrap(), 0);
    assert_eq!(store.earned_macs(node(9)).await.unwrap(), 0, "whom nobody knows");
    assert_eq!(store.credit(work(7, 1, 64, 70)).await, newly(70_000));
    assert_eq!(store.credit(work(8, 0, 0, 1)).await, newly(71_000), "in another session");
    assert_eq!(sums(&store).await, [71_000; 3]);
}

#[tokio::test]
async fn a_session_that_goes_on_is_credited_from_its_first_receipt_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let goes_on = |sequence, from, to| Work { continues: true, ..work(1, sequence, from, to) };
    // The second may be handed in first, and waits.
    assert_eq!(store.credit(goes_on(1, 134, 150)).await, Credit::TryAgain);
    assert_eq!(store.credit(goes_on(0, 70, 134)).await, newly(64_000));
    assert_eq!(store.credit(goes_on(0, 70, 134)).await, known(64_000));
    assert_eq!(store.credit(goes_on(1, 134, 150)).await, newly(80_000));
    let gap = store.credit(goes_on(2, 200, 210)).await;
    assert!(matches!(gap, Credit::Refused(_)), "{gap:?}");
    let from_nothing = store.credit(work(2, 0, 70, 134)).await;
    assert!(matches!(from_nothing, Credit::Refused(_)), "only where the ticket says so");
}

#[tokio::test]
async fn receipts_out_of_place_are_refused_or_wait_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    assert_eq!(store.credit(work(7, 0, 0, 64)).await, newly(64_000));
    // The one before it is on its way.
    assert_eq!(store.credit(work(7, 2, 128, 192)).await, Credit::TryAgain);
    let refused = [
        (work(7, 0, 0, 63), "another of a number that is credited"),
        (work(7, 1, 0, 64), "the same positions again"),
        (work(7, 1, 65, 70), "a hole in the positions"),
    ];
    for (work, what) in refused {
        let credit = store.credit(work).await;
        assert!(matches!(credit, Credit::Refused(_)), "{what}: {credit:?}");
    }
    assert_eq!(sums(&store).await, [64_000; 3]);
    // Then it comes, and the later one again.
    assert_eq!(store.credit(work(7, 1, 64, 128)).await, newly(128_000));
    assert_eq!(store.credit(work(7, 2, 128, 192)).await, newly(192_000));
}

#[tokio::test]
async fn receipts_of_one_transaction_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    // All are in the queue before the writer comes to it, as the test has the only thread.
    let works = [
        work(7, 0, 0, 64),
        work(7, 0, 0, 64),
        work(7, 2, 128, 129),
        work(7, 1, 64, 70),
        work(7, 1, 64, 80),
        work(8, 0, 0, 10),
    ];
    let credits = futures::future::join_all(works.map(|work| store.credit(work))).await;
    assert_eq!(credits[..4], [newly(64_000), known(64_000), Credit::TryAgain, newly(70_000)]);
    assert!(matches!(credits[4], Credit::Refused(_)), "{credits:?}");
    assert_eq!(credits[5], newly(80_000));
    assert_eq!(sums(&store).await, [80_000; 3]);
    let [contributor] = &store.contributors(None, 10).await.unwrap()[..] else {
        panic!("one earned")
    };
    assert_eq!((contributor.macs, contributor.receipts), (80_000, 3));
}

#[tokio::test]
async fn those_beyond_the_queue_try_again_and_the_others_are_credited() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let sequences = 0..u32::try_from(WRITE_QUEUE).unwrap() + 3;
    let works = sequences.map(|sequence| store.credit(work(7, sequence, sequence, sequence + 1)));
    let credits = futures::future::join_all(works).await;
    let (written, turned_away) = credits.split_at(WRITE_QUEUE);
    for (credit, sequence) in written.iter().zip(1..) {
        assert_eq!(*credit, newly(1_000 * sequence));
    }
    assert_eq!(turned_away, [Credit::TryAgain, Credit::TryAgain, Credit::TryAgain]);
}

#[tokio::test]
async fn a_transaction_that_fails_credits_nothing_and_may_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    assert_eq!(store.credit(work(7, 0, 0, 64)).await, newly(64_000));
    let mut other = file(folder.path()).connect().await.unwrap();
    sqlx::raw_sql("ALTER TABLE accounts RENAME TO elsewhere").execute(&mut other).await.unwrap();
    assert_eq!(store.credit(work(7, 1, 64, 70)).await, Credit::TryAgain);
    sqlx::raw_sql("ALTER TABLE elsewhere RENAME TO accounts").execute(&mut other).await.unwrap();
    assert_eq!(sums(&store).await, [64_000; 3], "not even the receipt is filed");
    assert_eq!(store.credit(work(7, 1, 64, 70)).await, newly(70_000));
}

#[tokio::test]
async fn the_tally_is_by_credit_and_knows_what_nodes_said_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let mut by_other = work(8, 0, 0, 10);
    by_other.signed.receipt.stage = node(3);
    by_other.kind = Some(NodeKind::Native);
    for work in [
        Work { kind: Some(NodeKind::Browser), ..work(7, 0, 0, 64) },
        by_other,
        // A receipt that comes before its node has registered again leaves what it said before.
        work(7, 1, 64, 65),
    ] {
        assert!(matches!(store.credit(work).await, Credit::Credited { .. }));
    }
    let tally = store.contributors(None, 10).await.unwrap();
    let contributor =
        |node, kind, macs, receipts| Contributor { node, called: None, kind, macs, receipts };
    let expected = [
        contributor(node(STAGE), Some(NodeKind::Browser), 65_000, 2),
        contributor(node(3), Some(NodeKind::Native), 10_000, 1),
    ];
    assert_eq!(tally, expected, "who only used is not in it");
    assert_eq!(store.contributors(None, 1).await.unwrap(), expected[..1]);
}

#[tokio::test]
async fn a_closed_store_has_written_what_waited() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let (credit, ()) = tokio::join!(store.credit(work(7, 0, 0, 64)), store.close());
    assert_eq!(credit, newly(64_000));
    store.writer_ended().await;
    assert_eq!(store.credit(work(7, 1, 64, 65)).await, Credit::TryAgain);
    let store = Store::open(folder.path()).await.unwrap();
    assert_eq!(sums(&store).await, [64_000; 3]);
}

#[tokio::test]
async fn a_database_made_by_any_version_before_is_brought_up_to_date() {
    for version in 0..=2 {
        let folder = tempfile::tempdir().unwrap();
        let mut old = file(folder.path()).connect().await.unwrap();
        let node_column = match version {
            // Before there were migrations.
            0 => {
                let schema = include_str!("old_schema.sql");
                sqlx::raw_sql(schema).execute(&mut old).await.unwrap();
                "worker"
            }
            version => {
                schema::migrate_to(&mut old, version).await.unwrap();
                if version == 1 { "worker" } else { "stage" }
            }
        };
        fill_old(&mut old, node_column).await;
        sqlx::Connection::close(old).await.unwrap();

        // Twice: the second time there is nothing to do.
        for _ in 0..2 {
            let store = Store::open(folder.path()).await.unwrap();
            let tally = store.contributors(None, 10).await.unwrap();
            let earned = tally.iter().map(|of| (of.node, of.kind, of.macs, of.receipts));
            let expected = [
                (node(STAGE), Some(NodeKind::Browser), 70_000, 2),
                (node(REQUESTER), None, 1_000, 1),
            ];
            assert_eq!(earned.collect::<Vec<_>>(), expected, "version {version}");
            assert_eq!(sums(&store).await, [71_000; 3], "version {version}");
            assert_eq!(store.credit(work(7, 1, 64, 70)).await, known(70_000), "credited once");
            store.close().await;
        }
        let store = Store::open(folder.path()).await.unwrap();
        assert_eq!(store.credit(work(7, 2, 70, 71)).await, newly(71_000));
        assert_eq!(store.credit(work(7, 1, 64, 70)).await, known(71_000));
        let bodies: Vec<Vec<u8>> = sqlx::query_scalar("SELECT body FROM receipts ORDER BY rowid")
            .fetch_all(&store.readers)
            .await
            .unwrap();
        assert_eq!(bodies[1], codec::encode(&work(7, 1, 64, 70).signed), "version {version}");
        assert_eq!(bodies.len(), 4);
    }
}

fn file(folder: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(folder.join("potluck.sqlite")).create_if_missing(true)
}

/// Two sessions, in which each of two nodes worked for the other, as versions before accounts wrote
/// them.
async fn fill_old(old: &mut SqliteConnection, node_column: &str) {
    let mut back = work(8, 0, 0, 1);
    let receipt = &mut back.signed.receipt;
    std::mem::swap(&mut receipt.stage, &mut receipt.requester);
    for session in [7_u8, 8] {
        sqlx::query("INSERT INTO sessions (id, body) VALUES (?, x'00')")
            .bind(&[session; 16][..])
            .execute(&mut *old)
            .await
            .unwrap();
    }
    sqlx::query("INSERT INTO nodes (node, kind) VALUES (?, 'browser')")
        .bind(&node(STAGE).0[..])
        .execute(&mut *old)
        .await
        .unwrap();
    for work in [work(7, 0, 0, 64), work(7, 1, 64, 70), back] {
        let receipt = &work.signed.receipt;
        let (id, macs) = (receipt.id(), i64::try_from(work.macs).unwrap());
        let insert = format!(
            "INSERT INTO receipts (id, session, {node_column}, sequence, to_position, macs, body)
             VALUES (?, ?, ?, ?, ?, ?, ?)"
        );
        sqlx::query(sqlx::AssertSqlSafe(insert))
            .bind(&id.0[..])
            .bind(&receipt.session.0[..])
            .bind(&receipt.stage.0[..])
            .bind(receipt.sequence)
            .bind(receipt.to_position)
            .bind(macs)
            .bind(codec::encode(&work.signed))
            .execute(&mut *old)
            .await
            .unwrap();
        for (account, node, macs) in
            [("earned", receipt.stage, macs), ("used", receipt.requester, -macs)]
        {
            sqlx::query("INSERT INTO postings (receipt, account, node, macs) VALUES (?, ?, ?, ?)")
                .bind(&id.0[..])
                .bind(account)
                .bind(&node.0[..])
                .bind(macs)
                .execute(&mut *old)
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn each_day_has_its_sum_and_old_ones_go() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    assert_eq!(store.days(node(STAGE), 90).await.unwrap().1, [], "whom nobody knows");
    assert_eq!(store.credit(work(7, 0, 0, 64)).await, newly(64_000));
    assert_eq!(store.credit(work(7, 0, 0, 64)).await, known(64_000), "a repeat adds nothing");
    assert_eq!(store.credit(work(7, 1, 64, 70)).await, newly(70_000));
    let (today, days) = store.days(node(STAGE), 90).await.unwrap();
    let sum = |days: &[super::days::Day]| {
        days.iter().fold((0, 0), |sum, day| (sum.0 + day.macs, sum.1 + day.receipts))
    };
    assert_eq!(sum(&days), (70_000, 2), "of a day, or of two around midnight");
    assert!(days.iter().all(|day| day.day + 1 >= today));
    assert_eq!(store.days(node(REQUESTER), 90).await.unwrap().1, [], "who asked earned nothing");
    store.close().await;

    let path = format!("sqlite://{}", folder.path().join("potluck.sqlite").display());
    let mut connection = SqliteConnection::connect(&path).await.unwrap();
    for back in [89, 90, 400, 401] {
        sqlx::query("INSERT INTO days VALUES (?, unixepoch() / 86400 - ?, 5, 1)")
            .bind(&node(9).0[..])
            .bind(back)
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection.close().await.unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let (_, seen) = store.days(node(9), 90).await.unwrap();
    assert!(seen.len() <= 1, "the last ninety: {seen:?}");
    let kept: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM days WHERE node = ?")
        .bind(&node(9).0[..])
        .fetch_one(&store.readers)
        .await
        .unwrap();
    assert!((2..=3).contains(&kept), "what is older than is kept went: {kept}");
}
