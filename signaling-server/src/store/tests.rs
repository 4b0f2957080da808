use potluck_protocol::id::{Epoch, LayerRange, SessionId};
use potluck_protocol::identity::Identity;
use potluck_protocol::receipt::{Receipt, SignedReceipt};
use potluck_protocol::server::Stage;

use super::*;
use crate::models::Models;
use crate::models::tests::model;

struct Case {
    stage: Identity,
    requester: Identity,
    session: Session,
    models: Models,
}

fn case() -> Case {
    let (stage, requester) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let model = model(6);
    let stages = vec![Stage { node: stage.node(), layers: LayerRange { first: 0, end: 6 } }];
    let session = Session {
        id: SessionId([7; 16]),
        model: model.id,
        requester: requester.node(),
        stages,
        epochs: vec![Epoch(1), Epoch(2)],
    };
    let mut models = Models::default();
    models.add(model);
    Case { stage, requester, session, models }
}

fn signed(case: &Case, sequence: u32, from_position: u32, to_position: u32) -> SignedReceipt {
    let receipt = Receipt {
        session: case.session.id,
        model: case.session.model,
        stage: case.stage.node(),
        requester: case.requester.node(),
        layers: LayerRange { first: 0, end: 6 },
        sequence,
        from_position,
        to_position,
        sampled: 0,
        output_hash: [0; 32],
    };
    SignedReceipt {
        stage_signature: receipt.sign(&case.stage),
        requester_signature: receipt.sign(&case.requester),
        receipt,
    }
}

/// Zero, or the books are broken.
async fn sum_of_postings(store: &Store) -> i64 {
    let sum = sqlx::query_scalar("SELECT COALESCE(SUM(macs), 0) FROM postings");
    sum.fetch_one(&store.pool).await.unwrap()
}

#[tokio::test]
async fn credit_survives_reopening_and_a_repeat_adds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let case = case();
    let stage = case.stage.node();
    let store = Store::open(folder.path()).await.unwrap();
    store.save_session(&case.session).await.unwrap();
    let first = signed(&case, 0, 0, 64);
    let Credit::Credited(balance) = store.credit(&first, stage, &case.models).await.unwrap() else {
        panic!()
    };
    assert_eq!(balance, 6 * (64 + 64 * 65 / 2));
    store.close().await;

    let store = Store::open(folder.path()).await.unwrap();
    assert_eq!(store.credit(&first, stage, &case.models).await.unwrap(), Credit::Credited(balance));
    assert_eq!(store.contributors(10).await.unwrap()[0].macs, balance);
    assert_eq!(sum_of_postings(&store).await, 0);
    let second = signed(&case, 1, 64, 70);
    let Credit::Credited(more) = store.credit(&second, stage, &case.models).await.unwrap() else {
        panic!()
    };
    assert!(more > balance);
    assert_eq!(sum_of_postings(&store).await, 0);
}

#[tokio::test]
async fn inflated_forged_and_stolen_receipts_are_refused_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let case = case();
    let store = Store::open(folder.path()).await.unwrap();
    store.save_session(&case.session).await.unwrap();
    let stage = case.stage.node();
    let inflated = signed(&case, 0, 0, 65);
    let skipped = signed(&case, 1, 64, 70);
    let mut forged = signed(&case, 0, 0, 10);
    forged.receipt.to_position = 64;
    let mut unknown = signed(&case, 0, 0, 10);
    unknown.receipt.session = SessionId([8; 16]);
    for bad in [inflated, skipped, forged, unknown] {
        assert!(
            matches!(store.credit(&bad, stage, &case.models).await.unwrap(), Credit::Refused(_)),
            "{bad:?}"
        );
    }
    let stolen = signed(&case, 0, 0, 10);
    let thief = case.requester.node();
    assert!(matches!(
        store.credit(&stolen, thief, &case.models).await.unwrap(),
        Credit::Refused(_)
    ));
    assert_eq!(store.contributors(10).await.unwrap(), vec![]);
}

#[tokio::test]
async fn of_receipts_handed_in_in_parallel_each_is_credited_once() {
    let folder = tempfile::tempdir().unwrap();
    let case = case();
    let stage = case.stage.node();
    let store = Store::open(folder.path()).await.unwrap();
    store.save_session(&case.session).await.unwrap();

    // The same receipt from several tasks, each with a connection of its own to the database.
    let first = signed(&case, 0, 0, 64);
    let credits: Vec<Credit> =
        futures::future::try_join_all((0..8).map(|_| store.credit(&first, stage, &case.models)))
            .await
            .unwrap();
    let balance = 6 * (64 + 64 * 65 / 2);
    assert_eq!(credits, vec![Credit::Credited(balance); 8]);

    // Receipts that both claim to be the second one, of different lengths: one of them is.
    let claims = [signed(&case, 1, 64, 70), signed(&case, 1, 64, 80)];
    let credits = futures::future::try_join_all(
        claims.iter().map(|claim| store.credit(claim, stage, &case.models)),
    );
    let credits = credits.await.unwrap();
    let credited = credits.iter().filter(|credit| matches!(credit, Credit::Credited(_))).count();
    assert_eq!(credited, 1, "{credits:?}");

    let contributors = store.contributors(10).await.unwrap();
    assert_eq!(contributors.len(), 1);
    assert_eq!(contributors[0].receipts, 2);
    assert!(credits.contains(&Credit::Credited(contributors[0].macs)));
    assert_eq!(sum_of_postings(&store).await, 0);
}

#[tokio::test]
async fn a_database_made_before_there_were_migrations_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let case = case();
    let stage = case.stage.node();
    let first = signed(&case, 0, 0, 64);
    let file = SqliteConnectOptions::new()
        .filename(folder.path().join("potluck.sqlite"))
        .create_if_missing(true);
    let old = SqlitePool::connect_with(file).await.unwrap();
    sqlx::raw_sql(include_str!("old_schema.sql")).execute(&old).await.unwrap();
    sqlx::query("INSERT INTO sessions (id, body) VALUES (?, ?)")
        .bind(&case.session.id.0[..])
        .bind(codec::encode(&case.session))
        .execute(&old)
        .await
        .unwrap();
    let id = first.receipt.id();
    sqlx::query(
        "INSERT INTO receipts (id, session, worker, sequence, to_position, macs, body)
         VALUES (?, ?, ?, 0, 64, 1000, ?)",
    )
    .bind(&id.0[..])
    .bind(&case.session.id.0[..])
    .bind(&stage.0[..])
    .bind(codec::encode(&first))
    .execute(&old)
    .await
    .unwrap();
    for (account, node, macs) in
        [("earned", stage, 1000_i64), ("used", case.requester.node(), -1000)]
    {
        sqlx::query("INSERT INTO postings (receipt, account, node, macs) VALUES (?, ?, ?, ?)")
            .bind(&id.0[..])
            .bind(account)
            .bind(&node.0[..])
            .bind(macs)
            .execute(&old)
            .await
            .unwrap();
    }
    old.close().await;

    // Twice: the second time there is nothing to do.
    for _ in 0..2 {
        let store = Store::open(folder.path()).await.unwrap();
        let again = store.credit(&first, stage, &case.models).await.unwrap();
        assert_eq!(again, Credit::Credited(1000), "what was credited stays, once");
        store.close().await;
    }
    let store = Store::open(folder.path()).await.unwrap();
    let second = signed(&case, 1, 64, 70);
    let credit = store.credit(&second, stage, &case.models).await.unwrap();
    assert!(matches!(credit, Credit::Credited(macs) if macs > 1000), "{credit:?}");
    assert_eq!(sum_of_postings(&store).await, 0);
    assert_eq!(store.forget_unused_sessions().await.unwrap(), 0);
}

#[tokio::test]
async fn only_old_sessions_without_receipts_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let case = case();
    let store = Store::open(folder.path()).await.unwrap();
    let other = |id: u8| Session { id: SessionId([id; 16]), ..case.session.clone() };
    for session in [case.session.clone(), other(8), other(9)] {
        store.save_session(&session).await.unwrap();
    }
    let receipt = signed(&case, 0, 0, 64);
    store.credit(&receipt, case.stage.node(), &case.models).await.unwrap();
    // Two sessions age: the one with a receipt and one without.
    sqlx::query("UPDATE sessions SET opened_s = opened_s - 31 * 24 * 3600 WHERE id != ?")
        .bind(&[9_u8; 16][..])
        .execute(&store.pool)
        .await
        .unwrap();
    assert_eq!(store.forget_unused_sessions().await.unwrap(), 1);
    let kept: Vec<Vec<u8>> = sqlx::query_scalar("SELECT id FROM sessions ORDER BY id")
        .fetch_all(&store.pool)
        .await
        .unwrap();
    assert_eq!(kept, [vec![7; 16], vec![9; 16]]);
}
