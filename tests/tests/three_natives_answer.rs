//! Three native nodes hold the model together; what they answer is what one machine computes by the
//! specification.

use e2e::api;
use e2e::question::Question;
use e2e::swarm::Swarm;
use e2e::wait::until;
use potluck_protocol::api::NodeView;

#[tokio::test(flavor = "multi_thread")]
async fn three_natives_answer() -> anyhow::Result<()> {
    let mut swarm = Swarm::start("three_natives_answer").await?;
    for _ in 0..3 {
        swarm.add_native(&["--backend", "cpu"])?;
    }
    let nodes = swarm.serving(3).await?.nodes;

    let question = Question::new("Tell me a story about a fox and a lantern.", 7).at_most(100);
    let reference = swarm.reference_answer(&question).await?;
    let answer = swarm.ask(&question).await?;
    assert!(!answer.text.trim().is_empty());
    assert_eq!(answer.text, reference.text);
    assert_eq!(answer.token_ids, reference.token_ids);
    assert_eq!(answer.stages.len(), 3, "all three take part: {:?}", answer.stages);

    let again = swarm.ask(&question).await?;
    assert_eq!(again.token_ids, answer.token_ids, "the same seed samples the same tokens");
    let other = swarm.ask(&Question { seed: 8, ..question.clone() }).await?;
    assert_ne!(other.token_ids, answer.token_ids, "another seed samples others");

    let penalised = Question { repetition_penalty: Some("1.3".to_owned()), ..question.clone() };
    let reference = swarm.reference_answer(&penalised).await?;
    let without_repetition = swarm.ask(&penalised).await?;
    assert_eq!(without_repetition.token_ids, reference.token_ids);
    assert_ne!(without_repetition.token_ids, answer.token_ids, "what was said is said less");
    let short = swarm.ask(&question.clone().at_most(3)).await?;
    assert_eq!(
        (short.token_ids.as_slice(), short.end.as_str()),
        (&answer.token_ids[..3], "length")
    );

    // Receipts are off the token path; they come a moment later.
    let url = swarm.url();
    let tally = until("all three to be credited", async || {
        let tally = api::tally(&url).await?;
        let credited =
            |node: &NodeView| tally.iter().any(|row| row.node == node.id && row.receipts >= 3);
        Ok(if nodes.iter().all(credited) { Ok(tally) } else { Err(tally) })
    })
    .await?;
    for row in &tally {
        assert!(row.credit_macs > 0, "{row:?}");
    }
    assert_eq!(tally.len(), 3, "whoever only asked is credited nothing: {tally:?}");
    Ok(())
}
