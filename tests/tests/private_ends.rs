//! A native asker computes the ends of its answer itself, then all of it: the answer stays the one that
//! it was, whoever leaves, and the second needs no volunteer at all.

use e2e::api;
use e2e::question::{Answer, Question};
use e2e::swarm::Swarm;
use e2e::wait::until;

fn layers(answer: &Answer) -> Vec<(u32, u32)> {
    answer.stages.iter().map(|stage| (stage.layers.0.first, stage.layers.0.end)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn private_ends() -> anyhow::Result<()> {
    let mut swarm = Swarm::start("private_ends").await?;
    for _ in 0..3 {
        swarm.add_native(&["--backend", "cpu"])?;
    }
    let nodes = swarm.serving(3).await?.nodes;
    let question = Question::new("Tell me a story about a fox and a lantern.", 7).at_most(100);
    let reference = swarm.reference_answer(&question).await?;

    let private = question.with(&["--private-ends", "1", "--backend", "cpu"]);
    let answer = swarm.ask(&private).await?;
    assert_eq!(answer.token_ids, reference.token_ids);
    let [first, middle @ .., last] = &answer.stages[..] else { panic!("{:?}", answer.stages) };
    let ends = [first, last].map(|stage| (stage.layers.0.first, stage.layers.0.end));
    assert_eq!(ends, [(0, 1), (5, 6)]);
    assert_eq!(first.node, last.node, "both are the asker's");
    assert!(nodes.iter().all(|node| node.id != first.node), "which lends nothing");
    assert!(middle.len() > 1, "several others compute between: {middle:?}");
    let url = swarm.url();
    until("all of the middle to be credited", async || {
        let tally = api::tally(&url).await?;
        let has = |id| tally.iter().any(|row| row.node == id && row.receipts > 0);
        let all = middle.iter().all(|stage| has(stage.node)) && tally.len() == middle.len();
        Ok(if all { Ok(()) } else { Err(tally) })
    })
    .await?;

    // Two of three are gone, one of whom computes the middle at least: who stays takes their layers
    // over, and goes on to the token.
    let mut asking = swarm.start_asking(&private)?;
    asking.wait_for_words("computes layer 5").await?;
    swarm.natives.remove(1).kill().await?;
    swarm.natives.remove(1).kill().await?;
    assert_eq!(asking.answer().await?.token_ids, reference.token_ids, "a stage was killed");

    let refused = swarm.start_asking(&question.with(&["--private-ends", "3"]))?.outcome().await?;
    let refused = refused.expect_err("three at each end of six are all of them");
    assert!(refused.contains("at most 2"), "{refused}");
    let small = question.with(&["--local", "--memory", "1KiB"]);
    let refused = swarm.start_asking(&small)?.outcome().await?.expect_err("it does not fit");
    assert!(refused.contains("memory"), "{refused}");

    while let Some(native) = swarm.natives.pop() {
        native.kill().await?;
    }
    let answer = swarm.ask(&question.with(&["--local", "--backend", "cpu"])).await?;
    assert_eq!(answer.token_ids, reference.token_ids);
    assert_eq!(layers(&answer), [(0, 6)], "with nobody else");
    Ok(())
}
