//! A node crashes while it computes an answer: whoever asked is told what happened, and the next question is answered by those who stayed.

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
    let told = asking.outcome().await?.expect_err("the answer cannot be whole");

    let after = swarm.serving(2).await?;
    let lost = before.nodes.iter().find(|node| after.nodes.iter().all(|other| other.id != node.id));
    let lost = &lost.expect("one of the three is gone").name;
    assert!(
        told.contains("the answer stopped") && told.contains(lost.as_str()),
        "{lost} left, the asker read {told:?}"
    );

    let answer = swarm.ask(&question).await?;
    assert_eq!(answer.token_ids, swarm.yardstick(&question).await?.token_ids);
    Ok(())
}
