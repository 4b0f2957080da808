//! The measurements themselves.

use std::time::Instant;

use e2e::api;
use e2e::browser::{Graphics, is_available};
use e2e::measured::Measured;
use e2e::median::median;
use e2e::programs::page;
use e2e::question::{Answer, Question};
use e2e::sizes;
use e2e::swarm::Swarm;
use potluck_protocol::api::SwarmView;

/// What everyone is asked; long enough an answer that its rate is steady.
const PROMPT: &str = "Tell me a story about a fox and a lantern.";
/// A visitor's patience: from the click to serving, on this machine with the weights beside it.
const SERVING_AIM_MS: f64 = 3000.0;
/// A hop on one machine, encoding and both event loops included; the bare echo of a data channel is
/// about half of it.
const HOP_AIM_MS: f64 = 1.0;
/// Faster than anyone reads, on two shared cores.
const NATIVES_AIM: f64 = 60.0;
/// A steady reading speed.
const BROWSERS_AIM: f64 = 15.0;

/// Runs all of them, saying on stderr what is being measured.
///
/// # Errors
/// If a swarm does not come up or does not answer.
pub(crate) async fn everything(runs: u32, max_tokens: u32) -> anyhow::Result<Vec<Measured>> {
    let question = Question::new(PROMPT, 7).at_most(max_tokens);
    let mut measured = Vec::new();
    let alone = one_native(&question, runs, &mut measured).await?;
    three_natives(&question, runs, alone, &mut measured).await?;
    if is_available()? {
        mixed(&question, runs, alone, &mut measured).await?;
    } else {
        eprintln!("no Chromium with chromedriver here: browsers are not measured");
    }
    for size in sizes::measure(&page()?)? {
        let name = format!("{} with Brotli", size.name);
        measured.push(
            Measured::new(&name, size.brotli_bytes as f64 / 1000.0, "KB")
                .aiming_at(size.aim_bytes as f64 / 1000.0),
        );
    }
    Ok(measured)
}

/// Returns the rate of one process without any network, which the others are compared with.
async fn one_native(
    question: &Question,
    runs: u32,
    measured: &mut Vec<Measured>,
) -> anyhow::Result<f64> {
    eprintln!("one native node");
    let mut swarm = Swarm::start("bench-one-native").await?;
    swarm.add_native(&["--backend", "cpu"])?;
    swarm.serving(1).await?;
    let mut rates = Vec::new();
    for _ in 0..runs {
        rates.push(question.local(swarm.server.data(), "cpu").await?.tokens_per_second());
    }
    let alone = median(&rates);
    measured.push(Measured::new("one process, no network", alone, "tokens/s"));
    let answers = ask(&swarm, question, runs).await?;
    measured.push(Measured::new("one native", rate(&answers), "tokens/s").against(alone));
    Ok(alone)
}

async fn three_natives(
    question: &Question,
    runs: u32,
    alone: f64,
    measured: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    eprintln!("three native nodes");
    let mut swarm = Swarm::start("bench-three-natives").await?;
    for _ in 0..3 {
        swarm.add_native(&["--backend", "cpu"])?;
    }
    swarm.serving(3).await?;
    let answers = ask(&swarm, question, runs).await?;
    measured.push(
        Measured::new("three natives", rate(&answers), "tokens/s")
            .against(alone)
            .aiming_at(NATIVES_AIM),
    );
    measured.push(first_token("three natives", &answers));
    measured.push(hop("three natives", &answers, &api::swarm(&swarm.url()).await?));
    Ok(())
}

async fn mixed(
    question: &Question,
    runs: u32,
    alone: f64,
    measured: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    eprintln!("two browsers and a native node");
    let mut swarm = Swarm::start_with_page("bench-mixed").await?;
    swarm.add_native(&["--backend", "cpu"])?;
    for _ in 0..2 {
        swarm.add_lending_browser(Graphics::Machine, "").await?;
    }
    swarm.serving(3).await?;
    let answers = ask(&swarm, question, runs).await?;
    let name = "two browsers and a native";
    measured.push(
        Measured::new(name, rate(&answers), "tokens/s").against(alone).aiming_at(BROWSERS_AIM),
    );
    measured.push(first_token(name, &answers));
    measured.push(hop(name, &answers, &api::swarm(&swarm.url()).await?));
    drop(swarm);

    eprintln!("from the click to serving");
    let mut times = Vec::new();
    for _ in 0..runs {
        times.push(click_to_serving().await?);
    }
    measured.push(
        Measured::new("click to serving, cold browser", median(&times), "ms")
            .aiming_at(SERVING_AIM_MS),
    );
    Ok(())
}

/// Milliseconds from the click until the page says that it serves; the driver's own way to and fro
/// is in it.
async fn click_to_serving() -> anyhow::Result<f64> {
    let mut swarm = Swarm::start_with_page("bench-click").await?;
    let url = swarm.url();
    let browser = swarm.add_browser(Graphics::Machine).await?;
    browser.open(&url).await?;
    browser.wait_for_text("lend", |text| text.contains("Lend a hand")).await?;
    let clicked = Instant::now();
    browser.click("lend").await?;
    browser.wait_for_text("phase", |text| text.contains("Serving")).await?;
    Ok(clicked.elapsed().as_secs_f64() * 1000.0)
}

/// One answer first that does not count: connections are made and kernels warmed once.
async fn ask(swarm: &Swarm, question: &Question, runs: u32) -> anyhow::Result<Vec<Answer>> {
    swarm.ask(question).await?;
    let mut answers = Vec::new();
    for _ in 0..runs {
        answers.push(swarm.ask(question).await?);
    }
    Ok(answers)
}

fn rate(answers: &[Answer]) -> f64 {
    median(&answers.iter().map(Answer::tokens_per_second).collect::<Vec<_>>())
}

fn first_token(name: &str, answers: &[Answer]) -> Measured {
    let times: Vec<f64> = answers.iter().map(|answer| answer.first_token_ms).collect();
    Measured::new(&format!("{name}, route to first token"), median(&times), "ms")
}

/// What is left of a token's time when every stage's own is taken off, shared among the hops: one
/// into each stage and one back.
fn hop(name: &str, answers: &[Answer], view: &SwarmView) -> Measured {
    let stages = answers.first().map(|answer| answer.stages.clone()).unwrap_or_default();
    let computing: f64 = stages
        .iter()
        .filter_map(|stage| view.nodes.iter().find(|node| node.id == stage.node)?.ms_per_token_p50)
        .sum();
    let token_ms = 1000.0 / rate(answers).max(f64::MIN_POSITIVE);
    let hop_ms = (token_ms - computing).max(0.0) / (stages.len() as f64 + 1.0);
    Measured::new(&format!("{name}, one hop"), hop_ms, "ms").aiming_at(HOP_AIM_MS)
}
