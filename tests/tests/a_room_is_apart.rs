//! A room beside the public swarm, on one server: those who have its link compute for each other, and
//! for nobody else; what they answer is what one machine computes.

use anyhow::{Context as _, ensure};
use e2e::api;
use e2e::process::Folder;
use e2e::programs;
use e2e::question::Question;
use e2e::swarm::Swarm;
use e2e::wait::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_apart() -> anyhow::Result<()> {
    let mut swarm = Swarm::start("a_room_is_apart").await?;
    let link = invitation(&swarm.url()).await?;
    // One in the public swarm, two who were invited.
    swarm.add_native(&["--backend", "cpu"])?;
    swarm.add_native(&["--backend", "cpu", "--room", &link])?;
    let room = link.rsplit_once('=').context("the link has a secret")?.1.to_owned();
    swarm.add_native(&["--backend", "cpu", "--room", &room])?;
    let public = swarm.serving(1).await?.nodes;

    let question = Question::new("Tell me a story about a fox and a lantern.", 7).at_most(60);
    let reference = swarm.reference_answer(&question).await?;
    let folder = Folder::new()?;
    let invited = question.ask(&link, &folder.path().join("invited")).await?;
    ensure!(invited.token_ids == reference.token_ids, "{:?}", invited.text);
    ensure!(
        invited.stages.iter().all(|stage| stage.node != public[0].id),
        "nobody outside takes part: {:?}",
        invited.stages
    );
    let outside = swarm.ask(&question).await?;
    ensure!(outside.token_ids == reference.token_ids, "{:?}", outside.text);
    ensure!(outside.stages.iter().all(|stage| stage.node == public[0].id), "{:?}", outside.stages);

    // The public tally knows of the public work alone.
    let url = swarm.url();
    let tally = until("the public work to be credited", async || {
        let tally = api::tally(&url).await?;
        Ok(if tally.is_empty() { Err(tally) } else { Ok(tally) })
    })
    .await?;
    ensure!(tally.iter().all(|row| row.node == public[0].id), "{tally:?}");
    Ok(())
}

/// What `potluck-node room` prints.
async fn invitation(url: &str) -> anyhow::Result<String> {
    let program = programs::native("potluck-node")?;
    let output = tokio::process::Command::new(program).arg("room").arg(url).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let link = String::from_utf8(output.stdout)?.trim().to_owned();
    ensure!(link.starts_with(url), "{link}");
    Ok(link)
}
