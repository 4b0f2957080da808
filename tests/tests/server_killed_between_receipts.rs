//! The server dies without warning while receipts come in: what was credited stays credited, once,
//! and the swarm finds itself again.

use std::collections::BTreeMap;

use e2e::api;
use e2e::question::Question;
use e2e::swarm::Swarm;
use e2e::wait::until;
use potluck_protocol::api::NodeView;
use potluck_protocol::id::NodeId;

#[tokio::test(flavor = "multi_thread")]
async fn server_killed_between_receipts() -> anyhow::Result<()> {
    let mut swarm = Swarm::start("server_killed_between_receipts").await?;
    for _ in 0..2 {
        swarm.add_native(&["--backend", "cpu"])?;
    }
    let nodes = swarm.serving(2).await?.nodes;
    let url = swarm.url();
    let question = Question::new("Tell me a story about a bear and a kite.", 3);
    let answer = swarm.ask(&question).await?;
    let before = until("both to be credited", async || {
        let tally = credited(&url).await?;
        Ok(if tally.len() == 2 { Ok(tally) } else { Err(tally) })
    })
    .await?;

    // Into the middle of an answer, so that some receipts are credited and some are still on their
    // way.
    let mut asking = swarm.start_asking(&Question { seed: 4, ..question.clone() })?;
    asking.wait_for_first_token(2).await?;
    swarm.crash_and_restart_server().await?;
    drop(asking);

    let after = credited(&url).await?;
    for (node, (macs, receipts)) in &before {
        let now = after.get(node);
        assert!(
            now.is_some_and(|now| now.0 >= *macs && now.1 >= *receipts),
            "{node} had {macs}, has {now:?}"
        );
    }

    let again = swarm.serving(2).await?;
    let ids = |nodes: &[NodeView]| {
        let mut ids: Vec<_> = nodes.iter().map(|node| node.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&again.nodes), ids(&nodes), "the same two come back");
    assert_eq!(swarm.ask(&question).await?.token_ids, answer.token_ids, "and answer as before");
    until("new work to be credited on top", async || {
        let tally = credited(&url).await?;
        let grown =
            before.iter().all(|(node, (macs, _))| tally.get(node).is_some_and(|now| now.0 > *macs));
        Ok(if grown { Ok(()) } else { Err(tally) })
    })
    .await
}

/// Credit and receipts of every node that has any.
async fn credited(url: &str) -> anyhow::Result<BTreeMap<NodeId, (u64, u64)>> {
    let tally = api::tally(url).await?;
    Ok(tally.into_iter().map(|row| (row.node, (row.credit_macs, row.receipts))).collect())
}
