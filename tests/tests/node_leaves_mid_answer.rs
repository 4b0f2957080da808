//! A node crashes while it computes an answer: those who stay take its layers over, the answer goes
//! on to the token, and so does the next.

use e2e::question::Question;
use e2e::swarm::Swarm;

#[tokio::test(flavor = "multi_thread")]
async fn node_leaves_mid_answer() -> anyhow::Result<()> {
    let mut swarm = Swarm::start("node_leaves_mid_answer").await?;
    for _ in 0..3 {
        swarm.add_native(&["--backend", "cpu"])?;
    }
    let before = swarm.serving(3).await?;

    let question = Question::new("Tell me a story about a fox and a lantern.", 5);
    let mut asking = swarm.start_asking(&question)?;
    asking.wait_for_first_token(3).await?;
    swarm.natives.remove(1).kill().await?;
    // The two that stay share its layers, and the answer goes on where it was.
    let answer =
        asking.outcome().await?.map_err(|text| anyhow::anyhow!("the answer stopped: {text}"))?;
    assert_eq!(answer.token_ids, swarm.reference_answer(&question).await?.token_ids);
    let after = swarm.serving(2).await?;
    assert!(before.nodes.len() == 3 && after.nodes.len() == 2, "{before:?}, then {after:?}");

    let answer = swarm.ask(&question).await?;
    assert_eq!(answer.token_ids, swarm.reference_answer(&question).await?.token_ids);
    Ok(())
}
