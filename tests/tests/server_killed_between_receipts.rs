//! The server dies without warning while receipts come in: everything is credited, exactly once,
//! and the swarm finds itself again.

use std::collections::BTreeMap;

use e2e::api;
use e2e::question::Question;
use e2e::swarm::Swarm;
use e2e::wait::until;
use potluck_protocol::api::NodeView;
use potluck_protocol::id::NodeId;

/// Positions of a receipt, as the protocol has it.
const RECEIPT_POSITIONS: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn server_killed_between_receipts() -> anyhow::Result<()> {
    let mut swarm = Swarm::start("server_killed_between_receipts").await?;
    for _ in 0..2 {
        swarm.add_native(&["--backend", "cpu"])?;
    }
    let nodes = swarm.serving(2).await?.nodes;
    let url = swarm.url();

    // An answer of one token more than so many whole receipts: whatever the prompt's length, up to
    // a receipt, adds to it, every stage has exactly one receipt more than that.
    let question = Question::new("Tell me a story about a bear and a kite.", 3);
    let whole = swarm.reference_answer(&question).await?.token_ids;
    let full = whole.len().saturating_sub(1) / RECEIPT_POSITIONS;
    let tokens = full * RECEIPT_POSITIONS + 1;
    let question = question.at_most(u32::try_from(tokens)?);
    let receipts = u64::try_from(full)? + 1;

    assert_eq!(swarm.ask(&question).await?.token_ids, whole[..tokens]);
    let once = credited_receipts(&url, receipts).await?;

    // The server goes the moment the second answer is whole: the receipts of its last positions are
    // on their way.
    assert_eq!(swarm.ask(&question).await?.token_ids, whole[..tokens]);
    swarm.crash_and_restart_server().await?;

    let again = swarm.serving(2).await?;
    let ids = |nodes: &[NodeView]| {
        let mut ids: Vec<_> = nodes.iter().map(|node| node.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&again.nodes), ids(&nodes), "the same two come back");
    let twice = credited_receipts(&url, 2 * receipts).await?;
    for (node, macs) in &once {
        assert_eq!(twice.get(node), Some(&(2 * macs)), "{node} did the same work twice");
    }

    // A receipt that was credited again, late, would show up here. The layers may be shared out
    // otherwise now, but together they are as much work as before.
    assert_eq!(swarm.ask(&question).await?.token_ids, whole[..tokens], "and answer as before");
    let thrice = credited_receipts(&url, 3 * receipts).await?;
    assert_eq!(thrice.values().sum::<u64>(), 3 * once.values().sum::<u64>());
    Ok(())
}

/// Waits until two nodes have so many receipts each, and gives every node's credit,
/// multiply-accumulates.
async fn credited_receipts(url: &str, receipts: u64) -> anyhow::Result<BTreeMap<NodeId, u64>> {
    let tally = until(&format!("two nodes to have {receipts} receipts each"), async || {
        let tally = api::tally(url).await?;
        let all = tally.len() == 2 && tally.iter().all(|row| row.receipts == receipts);
        Ok(if all { Ok(tally) } else { Err(tally) })
    })
    .await?;
    Ok(tally.into_iter().map(|row| (row.node, row.credit_macs)).collect())
}
