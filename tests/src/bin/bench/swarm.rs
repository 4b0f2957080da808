//! How the swarm bears many requesters and volunteers who die.

use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::measured::Measured;
use e2e::median::median;
use e2e::question::Question;
use e2e::swarm::Swarm;
use futures::future::try_join_all;

const PROMPT: &str = "Tell me a story about a fox and a lantern.";
/// Askers at once.
const ASKERS: u32 = 8;
/// Stages in the pipeline that they ask.
const STAGES: usize = 4;
/// Being cut into stages may cost so much of the rate of one process.
const STAGES_AIM: f64 = 0.9;
/// And so much more must come of it when many ask.
const ASKERS_AIM: f64 = 3.0;
/// Nobody waits longer for a token because a volunteer died.
const PAUSE_AIM_MS: f64 = 2000.0;
/// Volunteers when some of them die: the built-in model has six layers, and everything is held
/// twice.
const REPLICATED: usize = 12;

pub(crate) async fn everything(
    runs: u32,
    max_tokens: u32,
    kills: u32,
) -> anyhow::Result<Vec<Measured>> {
    let mut measured = Vec::new();
    together(runs, max_tokens, &mut measured).await?;
    deaths(kills, max_tokens, &mut measured).await?;
    Ok(measured)
}

/// Askers, one and many, beside one process without any network.
async fn together(runs: u32, max_tokens: u32, measured: &mut Vec<Measured>) -> anyhow::Result<()> {
    eprintln!("{ASKERS} requesters of {STAGES} natives");
    let mut swarm = Swarm::start("bench-requesters").await?;
    for _ in 0..STAGES {
        swarm.add_native(&["--backend", "cpu"])?;
    }
    swarm.serving(STAGES).await?;
    let question = |seed| Question::new(PROMPT, seed).at_most(max_tokens);
    swarm.ask(&question(0)).await?;
    let (mut alone, mut one, mut many) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        alone.push(question(1).local(swarm.server.data(), "cpu").await?.tokens_per_second());
        one.push(swarm.ask(&question(1)).await?.tokens_per_second());
        let asked = (0..ASKERS).map(|requester| {
            let asking = swarm.start_asking_as(
                &format!("requester-{requester}"),
                &question(u64::from(requester)),
            );
            async { asking?.answer().await }
        });
        let answers = try_join_all(asked).await?;
        many.push(answers.iter().map(e2e::question::Answer::tokens_per_second).sum());
    }
    let name = format!("{STAGES} natives, one requester; peer: one process, no network");
    measured.push(Measured::in_turns(&name, &one, &alone, "tokens/s").aiming_at_ratio(STAGES_AIM));
    let name = format!("{STAGES} natives, {ASKERS} requesters at once; peer: one requester");
    measured.push(Measured::in_turns(&name, &many, &one, "tokens/s").aiming_at_ratio(ASKERS_AIM));
    Ok(())
}

/// Volunteers killed while they compute: every answer must be the one it would have been, and the
/// silence is measured.
async fn deaths(kills: u32, max_tokens: u32, measured: &mut Vec<Measured>) -> anyhow::Result<()> {
    eprintln!("{kills} deaths among {REPLICATED} natives");
    let mut swarm = Swarm::start("bench-deaths").await?;
    for _ in 0..REPLICATED {
        swarm.add_native(&["--backend", "cpu"])?;
    }
    swarm.serving(REPLICATED).await?;
    let question = Question::new(PROMPT, 7).at_most(max_tokens);
    let expected = swarm.reference_answer(&question).await?.token_ids;
    let mut pauses = Vec::new();
    let mut round = 0_usize;
    while pauses.len() < kills as usize {
        round += 1;
        let mut asking = swarm.start_asking(&question)?;
        asking.wait_for_first_token(1).await?;
        // Somewhere in the answer: another place every time, the same ones in every run of this.
        tokio::time::sleep(Duration::from_millis(round as u64 * 37 % 300)).await;
        swarm.natives.remove(round * 5 % REPLICATED).kill().await?;
        let (mut last, mut silences, mut heard) = (Instant::now(), Vec::new(), String::new());
        while let Some(words) = asking.next_words().await? {
            silences.push(last.elapsed());
            last = Instant::now();
            heard.push_str(&words);
        }
        // The last words are a line's end, after the program has signed what was computed for it:
        // nobody waits for that.
        silences.pop();
        let longest = silences.into_iter().max().unwrap_or_default();
        let answer = asking.answer().await?;
        ensure!(answer.token_ids == expected, "the answer after death {round} is another one");
        // Half of the dead compute for somebody else, or nobody.
        if heard.contains("others go on") {
            pauses.push(longest.as_secs_f64() * 1000.0);
        }
        swarm.add_native(&["--backend", "cpu"])?;
        swarm.serving(REPLICATED).await?;
    }
    pauses.sort_by(f64::total_cmp);
    let p95 =
        pauses.get((pauses.len() * 95).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0.0);
    let name = |what: &str| {
        format!("{kills} deaths in the middle of answers, all of them identical: {what}")
    };
    measured.push(Measured::new(&name("pause, median"), median(&pauses), "ms"));
    measured.push(Measured::new(&name("pause, p95"), p95, "ms").aiming_at(PAUSE_AIM_MS));
    Ok(())
}
