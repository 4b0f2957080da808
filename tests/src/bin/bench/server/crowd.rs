//! Ten thousand members of one server: what their sockets and heartbeats cost, and, once all of
//! them lend, how long a question waits for its route and how fast the swarm is read.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::measured::Measured;
use e2e::median::{median, percentile};
use e2e::member::{Kept, Member};
use e2e::server::Server;
use e2e::usage;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use potluck_protocol::server::{FromServer, ToServer};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::reading::alone;
use super::rig::Builder;
use super::{Scale, reading};

/// Members, each with a socket.
const MEMBERS: usize = 10_000;
/// Handshakes at once.
const AT_ONCE: usize = 64;
/// How long heartbeats are counted.
const HEARTBEATS_S: f64 = 30.0;
/// Sessions that go on while routes are asked for.
const SESSIONS: usize = 1_000;
/// Routes asked for, one after the other.
const ROUTES: usize = 1_000;
/// Numbers of members that do not lend begin here.
const REQUESTERS: u64 = 1_000_000;
/// Nobody's layers change any more once they have not for so long.
const SETTLED: Duration = Duration::from_secs(5);
/// Assignments are waited for at most so long.
const LENDING: Duration = Duration::from_secs(120);

/// A machine with 2 GB may then serve what a large site has open at once.
const SOCKET_AIM_KB: f64 = 20.0;
/// Of one core: what is only there should hardly cost anything.
const HEARTBEATS_AIM_PERCENT: f64 = 5.0;
/// Everybody's messages wait behind it.
const ROUTE_AIM_MS: f64 = 1.0;

/// Measures all of it.
pub(super) async fn measure(
    builder: &Builder,
    data: &Path,
    scale: Scale,
    measured: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    let server = builder.start(data, "crowd", false).await?;
    let members = scale.of(MEMBERS);
    let crowd = idle(&server, members, scale, measured).await?;
    let (lenders, ready) = lend(crowd).await?;
    eprintln!("{ready} of {members} lenders have layers ready");
    routes(&server, ready, scale, measured).await?;
    for resource in ["swarm", "tally"] {
        reading::measure(&server, resource, members, scale, measured).await?;
    }
    let lost = lenders.iter().filter(|lender| !lender.is_connected()).count();
    measured.push(
        Measured::new("lenders that lost their connection meanwhile", lost as f64, "members")
            .aiming_at(0.0),
    );
    Ok(())
}

/// Members that are only there.
async fn idle(
    server: &Server,
    members: usize,
    scale: Scale,
    measured: &mut Vec<Measured>,
) -> anyhow::Result<Vec<Kept>> {
    eprintln!("{members} members that are only there");
    let url = server.url();
    let before = usage::memory_bytes(server.id())?;
    let started = Instant::now();
    let crowd: Vec<Kept> = stream::iter(0..members as u64)
        .map(|number| Member::join(&url, number))
        .buffer_unordered(AT_ONCE)
        .map_ok(Member::keep)
        .try_collect()
        .await?;
    let joined = members as f64 / started.elapsed().as_secs_f64();
    // What only the handshake needed is given back by then.
    sleep(Duration::from_secs(2)).await;
    let grown = usage::memory_bytes(server.id())?.saturating_sub(before);

    let (processor, watch) = (usage::processor_time(server.id())?, Instant::now());
    sleep(Duration::from_secs_f64(scale.seconds(HEARTBEATS_S))).await;
    let busy = usage::processor_time(server.id())?.saturating_sub(processor);
    let percent = 100.0 * busy.as_secs_f64() / watch.elapsed().as_secs_f64();
    let lost = crowd.iter().filter(|member| !member.is_connected()).count();
    ensure!(lost == 0, "{lost} of {members} members lost their connection");

    let socket = format!("memory a socket, {members} idle and proved");
    let heartbeats = format!("processor for the heartbeats of {members}, of one core");
    measured.extend([
        Measured::new(&socket, grown as f64 / members as f64 / 1000.0, "KB")
            .aiming_at(SOCKET_AIM_KB),
        Measured::new(&heartbeats, percent, "%").aiming_at(HEARTBEATS_AIM_PERCENT),
        Measured::new("members let in", joined, "members/s"),
    ]);
    Ok(crowd)
}

/// All of them lend; how many have layers ready in the end.
async fn lend(crowd: Vec<Kept>) -> anyhow::Result<(Vec<Kept>, usize)> {
    let (members, ready) = (crowd.len(), Arc::new(AtomicUsize::new(0)));
    let lenders: Vec<Kept> = stream::iter(crowd)
        .map(|kept| register(kept, Arc::clone(&ready)))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let deadline = Instant::now() + LENDING;
    let (mut count, mut since) = (0, Instant::now());
    // Nodes may be given other layers again and again while more of them come.
    while (count == 0 || since.elapsed() < SETTLED) && Instant::now() < deadline {
        sleep(Duration::from_millis(200)).await;
        let now = ready.load(Ordering::Relaxed);
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
    ensure!(count > 0, "none of {members} lenders was given layers within {} s", LENDING.as_secs());
    // Some were given other layers in the meantime.
    Ok((lenders, count.min(members)))
}

/// Returns when the server has taken the registration: no faster than it does are there more.
async fn register(kept: Kept, ready: Arc<AtomicUsize>) -> anyhow::Result<Kept> {
    let mut member = kept.back().await?;
    member.register(None).await?;
    // Answered in its turn, after the registration was taken.
    member.send(&ToServer::Heartbeat).await?;
    let (told, taken) = oneshot::channel();
    let mut told = Some(told);
    let lender = member.keep_lending(move |message| match message {
        FromServer::Heartbeat => {
            // Nobody waits for those that come later.
            let _ = told.take().map(|told| told.send(()));
        }
        FromServer::Assign { lease: Some(_), .. } => {
            ready.fetch_add(1, Ordering::Relaxed);
        }
        _ => {}
    });
    taken.await.context("a member lost its connection while it registered")?;
    Ok(lender)
}

/// Questions and their routes, one after the other, beside sessions that go on.
async fn routes(
    server: &Server,
    ready: usize,
    scale: Scale,
    measured: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    let (wanted, routes, url) = (scale.of(SESSIONS), scale.of(ROUTES), server.url());
    eprintln!("{routes} routes beside {wanted} sessions");
    let mut requesters = Vec::new();
    let mut sessions = 0;
    'all: for number in REQUESTERS.. {
        let mut requester = Member::join(&url, number).await?;
        loop {
            if sessions == wanted {
                requesters.push(requester.keep());
                break 'all;
            }
            match requester.ask().await? {
                Ok(_) => sessions += 1,
                // As many as it may have.
                Err(reason) if sessions > 0 => {
                    ensure!(requesters.len() < wanted, "no more sessions: {reason}");
                    requesters.push(requester.keep());
                    break;
                }
                Err(reason) => anyhow::bail!("nobody is given a session: {reason}"),
            }
        }
    }
    let (asks, beats) = alone(async move {
        let mut requester = Member::join(&url, REQUESTERS - 1).await?;
        let (mut asks, mut beats) = (Vec::new(), Vec::new());
        for _ in 0..routes {
            beats.push(milliseconds(requester.heartbeat_round_trip().await?));
            let asked = Instant::now();
            let session = requester.ask().await?.map_err(|reason| anyhow::anyhow!(reason))?;
            asks.push(milliseconds(asked.elapsed()));
            let (session, reason) = (session.id, "measured".to_owned());
            requester
                .send(&ToServer::EndSession { session, reason, failed_node: None, keeps: false })
                .await?;
        }
        anyhow::Ok((asks, beats))
    })
    .await?;
    ensure!(requesters.iter().all(Kept::is_connected), "requesters lost their connection");
    let name = |what: &str| format!("route, {ready} lenders, {sessions} sessions, {what}");
    let beat = (median(&beats), percentile(&beats, 99));
    measured.extend([
        Measured::new(&name("median; peer: a heartbeat's round trip"), median(&asks), "ms")
            .against(beat.0),
        Measured::new(&name("p99; peer: a heartbeat's round trip"), percentile(&asks, 99), "ms")
            .against(beat.1)
            .aiming_at(ROUTE_AIM_MS),
    ]);
    Ok(())
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
