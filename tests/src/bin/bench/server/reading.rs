//! A resource that is asked for so many times a second, however long the answers take: whoever is
//! late holds up nobody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::measured::Measured;
use e2e::median::{median, percentile};
use e2e::server::Server;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::Scale;
use super::crowd::milliseconds;

/// Requests a second.
const RATE: u64 = 500;
/// For so long.
const READING_S: f64 = 10.0;
/// A request that is not answered by then counts as this long, and is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests on their way at once; those that would be more are not sent, and count as given up.
const MAX_AT_ONCE: usize = 256;
/// Nobody should see the page wait.
const READING_AIM_MS: f64 = 5.0;

/// Asks for `/api/v1/<resource>`.
pub(super) async fn measure(
    server: &Server,
    resource: &str,
    members: usize,
    scale: Scale,
    measured: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    let url = format!("{}/api/v1/{resource}", server.url());
    eprintln!("{RATE} requests a second for {resource}");
    let seconds = scale.seconds(READING_S).max(1.0);
    let (times, given_up, bytes) = alone(read(url, seconds)).await?;
    let name = |what: &str| format!("/{resource} at {RATE} requests/s, {members} members, {what}");
    measured.extend([
        Measured::new(&name("an answer"), bytes as f64 / 1000.0, "KB"),
        Measured::new(&name("median"), median(&times), "ms"),
        Measured::new(&name("p99"), percentile(&times, 99), "ms").aiming_at(READING_AIM_MS),
        Measured::new(&name("given up"), given_up as f64, "requests").aiming_at(0.0),
    ]);
    Ok(())
}

/// Milliseconds of each request, how many of them were given up, and the bytes of an answer.
async fn read(url: String, seconds: f64) -> anyhow::Result<(Vec<f64>, usize, usize)> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let first = client.get(&url).send().await.with_context(|| format!("{url} does not answer"))?;
    ensure!(first.status().is_success(), "{url} answers {}", first.status());
    let bytes = first.bytes().await?.len();
    let places = Arc::new(Semaphore::new(MAX_AT_ONCE));
    let mut requests = JoinSet::new();
    let mut turns = interval(Duration::from_secs(1) / u32::try_from(RATE)?);
    // The rate holds even where a turn comes late.
    turns.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut times, mut given_up) = (Vec::new(), 0);
    let started = Instant::now();
    while started.elapsed().as_secs_f64() < seconds {
        turns.tick().await;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            given_up += 1;
            times.push(milliseconds(PATIENCE));
            continue;
        };
        let request = client.get(&url);
        requests.spawn(async move {
            let _place = place;
            let sent = Instant::now();
            let answer = async { request.send().await?.error_for_status()?.bytes().await };
            answer.await.is_ok().then(|| sent.elapsed())
        });
    }
    while let Some(answered) = requests.join_next().await {
        match answered? {
            Some(time) => times.push(milliseconds(time)),
            None => {
                given_up += 1;
                times.push(milliseconds(PATIENCE));
            }
        }
    }
    Ok((times, given_up, bytes))
}

/// Runs what is timed on a thread and runtime of its own, so that it does not wait for the crowd's
/// turns.
pub(super) async fn alone<T: Send + 'static>(
    timed: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(timed)
    })
    .await?
}
