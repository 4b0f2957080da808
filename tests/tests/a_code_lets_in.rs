//! A room with a list: the link alone lets nobody in. Whoever types the code that the room's maker reads
//! out is let in on a yes, computes there, and comes back with the pass; the code is used up by then.

use std::path::Path;

use anyhow::{Context as _, ensure};
use e2e::door::LettingIn;
use e2e::process::Folder;
use e2e::programs;
use e2e::question::Question;
use e2e::swarm::Swarm;
use e2e::wait::PATIENCE;
use tokio::process::Command;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn a_code_lets_in() -> anyhow::Result<()> {
    let mut swarm = Swarm::start("a_code_lets_in").await?;
    let (url, folder) = (swarm.url(), Folder::new()?);
    let (maker, stranger) = (folder.path().join("maker"), folder.path().join("stranger"));
    let link = node(&maker, &["room", &url, "--list"]).await?;

    // The link alone.
    let question = Question::new("Tell me a story about a fox and a lantern.", 7).at_most(40);
    let refused = question.start(&link, &stranger)?.outcome().await?.err();
    let refused = refused.context("the server let in somebody who is not on the list")?;
    ensure!(refused.contains("no pass was shown"), "{refused}");

    // The code, on the telephone.
    let letting_in = LettingIn::start(&link, &maker).await?;
    let code = letting_in.code.clone();
    swarm.add_native(&["--backend", "cpu", "--code", &code])?;
    letting_in.yes().await?;

    // The newcomer computes for the maker, and nobody else is there.
    let reference = swarm.reference_answer(&question).await?;
    let answer = question.ask(&link, &maker).await?;
    ensure!(answer.token_ids == reference.token_ids, "{:?}", answer.text);
    ensure!(answer.stages.len() == 1, "{:?}", answer.stages);

    // The code is used up; a key that the maker puts on the list asks with its own link.
    let again = ["join", &url, "--code", &code, "--accept"];
    let refused = node(&stranger, &again).await.err().context("a code works once")?.to_string();
    ensure!(refused.contains("ask for a new one"), "{refused}");
    let key = node(&stranger, &["room", &link]).await?;
    let own = node(&maker, &["room", &link, "--admit", &key]).await?;
    let answer = question.ask(&own, &stranger).await?;
    ensure!(answer.token_ids == reference.token_ids, "{:?}", answer.text);
    // With that link another key gets nowhere.
    let thief = folder.path().join("thief");
    let refused = question.start(&own, &thief)?.outcome().await?.err();
    let refused = refused.context("another's pass let somebody in")?;
    ensure!(refused.contains("not one of this room for this key"), "{refused}");
    Ok(())
}

fn program(home: &Path, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(programs::native("potluck-node")?);
    command.args(arguments).arg("--home").arg(home);
    Ok(command)
}

/// What a program prints that ends by itself.
async fn node(home: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = timeout(PATIENCE, program(home, arguments)?.kill_on_drop(true).output()).await??;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
