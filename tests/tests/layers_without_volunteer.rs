//! Someone asks before anyone lends: they read which layers are missing, and are answered as soon
//! as someone comes.

use e2e::question::Question;
use e2e::swarm::Swarm;

#[tokio::test(flavor = "multi_thread")]
async fn layers_without_volunteer() -> anyhow::Result<()> {
    let mut swarm = Swarm::start("layers_without_volunteer").await?;
    let question = Question::new("What is 2 plus 3?", 1).at_most(24);
    let mut asking = swarm.start_asking(&question)?;
    asking.wait_for_words("layers 0 to 5 of potluck-tiny have no volunteer yet").await?;
    swarm.add_native(&["--backend", "cpu"])?;
    let answer = asking.answer().await?;
    assert_eq!(answer.token_ids, swarm.reference_answer(&question).await?.token_ids);
    assert_eq!(answer.stages.len(), 1);
    Ok(())
}
