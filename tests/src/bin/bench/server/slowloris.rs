//! Members beside an attacker who opens thousands of connections and never ends a request on them.

use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::measured::Measured;
use e2e::median::percentile;
use e2e::member::Member;
use e2e::process::Folder;
use e2e::server::Server;
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Scale;
use super::crowd::milliseconds;
use super::rig::Builder;

/// Connections of the attacker.
const HALF_OPEN: usize = 5_000;
/// Members whose heartbeats are timed.
const MEMBERS: usize = 100;
/// Time between two heartbeats of a member: more often than nodes do, to see more of them.
const EVERY: Duration = Duration::from_millis(200);
/// How long, before and during.
const WATCH_S: f64 = 10.0;
/// Between two bytes of a request: the attacker says that it is still there.
const DRIP: Duration = Duration::from_secs(1);
/// New members that come during the attack.
const NEWCOMERS: u64 = 20;

/// Measures heartbeats before and during, and whether anybody is dropped or kept out.
pub(super) async fn measure(
    builder: &Builder,
    scale: Scale,
    measured: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    let folder = Folder::new()?;
    let server = builder.start(folder.path(), "slowloris", false).await?;
    let (attackers, members) = (scale.of(HALF_OPEN), scale.of(MEMBERS));
    eprintln!("{attackers} half-open connections beside {members} members");
    let url = server.url();
    let joined = (0..members as u64).map(|number| Member::join(&url, number));
    let joined: Vec<Member> = join_all(joined).await.into_iter().collect::<Result<_, _>>()?;
    let watch = Duration::from_secs_f64(scale.seconds(WATCH_S).max(2.0));
    let (calm, joined) = heartbeats(joined, watch).await;

    let mut attack = JoinSet::new();
    for _ in 0..attackers {
        attack.spawn(drip(server.port()));
    }
    // Until all of them are there.
    let newcomers = tokio::spawn(newcomers(url));
    let (busy, left) = heartbeats(joined, watch).await;
    let newcomers = newcomers.await??;
    attack.shutdown().await;
    ensure!(is_there(&server).await, "the server does not answer any more");

    let name = |what: &str| format!("{attackers} half-open connections, {what}");
    let before = percentile(&calm, 99);
    measured.extend([
        Measured::new(
            &name("heartbeat of a member, p99; peer: without them"),
            percentile(&busy, 99),
            "ms",
        )
        .against(before),
        Measured::new(&name("members dropped"), (members - left.len()) as f64, "members")
            .aiming_at(0.0),
        Measured::new(&name("a newcomer's handshake, p99"), percentile(&newcomers, 99), "ms"),
    ]);
    Ok(())
}

/// Milliseconds of every heartbeat's round trip, and the members that were not dropped.
async fn heartbeats(members: Vec<Member>, watch: Duration) -> (Vec<f64>, Vec<Member>) {
    let each = members.into_iter().map(|mut member| {
        tokio::spawn(async move {
            let (mut times, started) = (Vec::new(), Instant::now());
            while started.elapsed() < watch {
                match member.heartbeat_round_trip().await {
                    Ok(time) => times.push(milliseconds(time)),
                    Err(_) => return (times, None),
                }
                sleep(EVERY).await;
            }
            (times, Some(member))
        })
    });
    let (mut times, mut left) = (Vec::new(), Vec::new());
    for (some, member) in join_all(each).await.into_iter().flatten() {
        times.extend(some);
        left.extend(member);
    }
    (times, left)
}

/// Milliseconds of each newcomer's way in.
async fn newcomers(url: String) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    for number in 0..NEWCOMERS {
        sleep(EVERY).await;
        let started = Instant::now();
        drop(Member::join(&url, 100_000 + number).await?);
        times.push(milliseconds(started.elapsed()));
    }
    Ok(times)
}

/// One attacker: a request's head, a byte at a time, for ever; closed, it comes again.
async fn drip(port: u16) {
    loop {
        let attempt = async {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.write_all(b"GET /api/v1/swarm HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ").await?;
            loop {
                let mut byte = [0];
                match timeout(DRIP, stream.read(&mut byte)).await {
                    Ok(Ok(0)) => return Ok(()),
                    Ok(ended) => drop(ended?),
                    Err(_) => stream.write_all(b"a").await?,
                }
            }
        };
        let closed: std::io::Result<()> = attempt.await;
        // Not at once, or it would be a flood of connections, which is another attack.
        drop(closed);
        sleep(DRIP).await;
    }
}

async fn is_there(server: &Server) -> bool {
    e2e::api::models(&server.url()).await.is_ok()
}
