//! A lid is closed, a virtual machine moves: for some seconds one of them does not run. Afterwards
//! everybody is there, by itself, and answers are what they were.

use std::time::Duration;

use e2e::browser::{Graphics, is_available};
use e2e::question::Question;
use e2e::swarm::Swarm;
use e2e::wait::until;

/// Of a volunteer's machine.
const LID_CLOSED: Duration = Duration::from_secs(7);
/// Of the server's.
const MOVED: Duration = Duration::from_secs(6);
/// How often that happens.
const TIMES: usize = 3;

/// Asks, and compares with what one machine computes alone.
async fn answers_rightly(swarm: &Swarm, question: &Question) -> anyhow::Result<()> {
    let expected = swarm.reference_answer(question).await?;
    let answer = swarm.ask(question).await?;
    assert_eq!(answer.token_ids, expected.token_ids);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volunteer_that_was_stopped_for_seven_seconds_is_back() -> anyhow::Result<()> {
    let mut swarm = Swarm::start("a_pause_ends_nobody-volunteer").await?;
    for _ in 0..3 {
        swarm.add_native(&["--backend", "cpu"])?;
    }
    swarm.serving(3).await?;
    let question = Question::new("What is 2 plus 3?", 7);
    answers_rightly(&swarm, &question).await?;
    swarm.natives[1].pause(LID_CLOSED).await;
    swarm.serving(3).await?;
    answers_rightly(&swarm, &question).await?;
    assert!(swarm.natives.iter_mut().all(e2e::node::Node::is_running), "nobody has left");
    swarm.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_outlives_a_server_that_was_stopped_for_six_seconds() -> anyhow::Result<()> {
    let with_page = is_available()?;
    let mut swarm = if with_page {
        Swarm::start_with_page("a_pause_ends_nobody-server").await?
    } else {
        eprintln!("SKIPPED: no Chromium with chromedriver, so there is no tab among them");
        Swarm::start("a_pause_ends_nobody-server").await?
    };
    for _ in 0..2 {
        swarm.add_native(&["--backend", "cpu"])?;
    }
    if with_page {
        swarm.add_lending_browser(Graphics::Machine, "?backend=cpu").await?;
    }
    let count = swarm.natives.len() + swarm.browsers.len();
    swarm.serving(count).await?;
    let before = e2e::api::swarm(&swarm.url()).await?;
    for _ in 0..TIMES {
        swarm.server.pause(MOVED).await;
        swarm.serving(count).await?;
        assert!(swarm.natives.iter_mut().all(e2e::node::Node::is_running), "nobody has left");
    }
    // The same ones, under the names that they had.
    until("the same nodes as before", async || {
        let now = e2e::api::swarm(&swarm.url()).await?;
        let same = before.nodes.iter().all(|old| now.nodes.iter().any(|new| new.id == old.id));
        Ok(if same { Ok(()) } else { Err(now) })
    })
    .await?;
    answers_rightly(&swarm, &Question::new("What is 2 plus 3?", 7)).await?;
    assert!(swarm.natives.iter_mut().all(e2e::node::Node::is_running), "nor later");
    swarm.stop().await
}
