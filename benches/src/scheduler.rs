//! `cargo xtask bench scheduler`: what an event costs the server's one task that everybody waits
//! for, with few lenders and with ten thousand.
//!
//! The scheduler is driven as the hub drives it, in this process and without sockets; time includes
//! the signatures of leases and tickets.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::measured::Measured;
use e2e::median::percentile;
use e2e::programs::root;
use e2e::usage;
use potluck_protocol::grant::{SignedGrant, Terms};
use potluck_protocol::id::{LayerRange, ModelId, NodeId, RequestId};
use potluck_protocol::identity::{Identity, Signature};
use potluck_protocol::limits::MAX_SESSIONS_PER_REQUESTER;
use potluck_protocol::server::{Capabilities, FromServer, NodeKind, Session, ToServer};
use potluck_server::authority::Authority;
use potluck_server::models::{self, Models};
use potluck_server::scheduler::{Action, Event, Scheduler, Settings, Standing};

/// Numbers of lenders, the smallest first: memory that a larger one needs is new memory.
pub const LENDERS: [usize; 3] = [10, 1_000, 10_000];
/// Time since 1970 when a measurement begins.
const START: Duration = Duration::from_secs(1_790_000_000);
/// Sessions that run meanwhile.
pub const SESSIONS: usize = 1_000;
/// Measurements of each event.
const SAMPLES: usize = 2_000;
/// What a route may take in the slowest of a hundred cases, whatever the number of lenders.
const ROUTE_AIM_MS: f64 = 1.0;
/// Lenders from which on the memory of one can be told from the process's own.
const ENOUGH_FOR_MEMORY: usize = 1_000;

/// The cost of events, for each number of lenders, with so many sessions running.
///
/// # Errors
/// If the built-in model cannot be read, or a request gets no route.
pub fn measure(lenders: &[usize], sessions: usize) -> anyhow::Result<Vec<Measured>> {
    let folder = tempfile::tempdir()?;
    let model = root().join("models/potluck-tiny").display().to_string();
    models::add(&model, folder.path(), &potluck_importer::Options::default())?;
    let mut table = Vec::new();
    for count in lenders {
        let before = resident_kilobytes();
        let mut swarm = Swarm::new(folder.path(), *count)?;
        let heading = format!("scheduler, {count} lenders, {sessions} sessions");
        if let (Some(before), Some(after)) = (before, resident_kilobytes())
            && *count >= ENOUGH_FOR_MEMORY
        {
            let kilobytes = (after - before) / f64::from(u32::try_from(*count)?);
            table.push(Measured::new(&format!("{heading}, memory a lender"), kilobytes, "KiB"));
        }
        swarm.run(sessions)?;
        let plan = swarm.plan();
        let times = swarm.times()?;
        let row = |what: &str, percent: usize, times: &[Duration]| {
            let name = format!("{heading}, {what} p{percent}");
            let times: Vec<f64> = times.iter().copied().map(milliseconds).collect();
            Measured::new(&name, percentile(&times, percent), "ms")
        };
        table.push(row("route", 50, &times.routes));
        table.push(row("route", 99, &times.routes).aiming_at(ROUTE_AIM_MS));
        table.push(row("end of a session", 99, &times.ends));
        table.push(row("layers ready", 99, &times.ready));
        table.push(row("may they signal?", 99, &times.shares));
        table.push(row("view in sums", 99, &times.views));
        table.push(Measured::new(&format!("{heading}, a plan"), milliseconds(plan), "ms"));
    }
    Ok(table)
}

/// What each measured event took.
#[derive(Debug, Default)]
struct Times {
    routes: Vec<Duration>,
    ends: Vec<Duration>,
    ready: Vec<Duration>,
    shares: Vec<Duration>,
    views: Vec<Duration>,
}

/// A scheduler with lenders.
struct Swarm {
    scheduler: Scheduler,
    model: ModelId,
    layers: u32,
    lenders: Vec<NodeId>,
    /// Grows with every event, as the server's does.
    now: Duration,
    /// How many requesters there are.
    requesters: u64,
}

impl Swarm {
    /// All layers are ready.
    fn new(models: &Path, lenders: usize) -> anyhow::Result<Self> {
        let models = Arc::new(Models::open(models)?);
        let served = models.iter().next().context("no model")?;
        let (model, layers) = (served.id, served.layers);
        let scheduler = Scheduler::new(Settings {
            models,
            authority: Arc::new(Authority::new(Identity::from_seed(&[1; 32]), START)),
            plan_delay: Duration::from_millis(300),
            same_address_earns: false,
            seed: [2; 32],
        });
        let lenders = (0_u64..).take(lenders).map(|number| node(1, number)).collect();
        let mut swarm =
            Self { scheduler, model, layers, lenders, now: Duration::ZERO, requesters: 0 };
        for lender in swarm.lenders.clone() {
            swarm.handle(lender, Event::Joined(Standing::default()));
            swarm.register(lender, 1_000_000);
        }
        swarm.settle();
        Ok(swarm)
    }

    fn handle(&mut self, node: NodeId, event: Event) -> Vec<Action> {
        self.now += Duration::from_micros(10);
        self.scheduler.handle(node, event, self.now).unwrap_or_default()
    }

    fn send(&mut self, node: NodeId, message: ToServer) -> Vec<Action> {
        self.handle(node, Event::Received(message))
    }

    fn register(&mut self, lender: NodeId, macs_per_ms: u64) {
        let (kind, backend) = (NodeKind::Browser, "simd128".to_owned());
        let capabilities = Capabilities { kind, backend, memory_bytes: 1 << 30, macs_per_ms };
        let grant = Terms::default().grant(lender, "http://bench".to_owned(), START.as_secs());
        // The scheduler takes it as verified: its connection does that.
        let grant = Box::new(SignedGrant { grant, signature: Signature([0; 64]) });
        self.send(lender, ToServer::Register { capabilities, grant, lease: None });
    }

    /// Lets assignments be made, and loaded.
    fn settle(&mut self) {
        while let Some(at) = self.scheduler.next_plan() {
            self.now = self.now.max(at);
            for Action::Send(node, message) in self.scheduler.tick(self.now) {
                if let FromServer::Assign { model, lease: Some(lease) } = message {
                    self.send(node, ToServer::LayersReady { model, layers: lease.lease.layers });
                }
            }
        }
    }

    /// Asks as a requester; the session and what it took.
    fn ask(&mut self, requester: NodeId, request: u32) -> anyhow::Result<(Session, Duration)> {
        let (request, model) = (RequestId(request), self.model);
        let start = Instant::now();
        let actions = self.send(
            requester,
            ToServer::Ask { request, model, exclude: Vec::new(), continues: None },
        );
        let took = start.elapsed();
        let route = actions.into_iter().find_map(|Action::Send(_, message)| match message {
            FromServer::Route { session, .. } => Some(session),
            _ => None,
        });
        Ok((route.context("a request got no route")?, took))
    }

    fn join_requester(&mut self) -> NodeId {
        self.requesters += 1;
        let requester = node(2, self.requesters);
        self.handle(requester, Event::Joined(Standing::default()));
        requester
    }

    /// Opens so many sessions, which stay.
    fn run(&mut self, sessions: usize) -> anyhow::Result<()> {
        for first in (0..sessions).step_by(MAX_SESSIONS_PER_REQUESTER) {
            let requester = self.join_requester();
            for request in (0_u32..).take(MAX_SESSIONS_PER_REQUESTER.min(sessions - first)) {
                self.ask(requester, request)?;
            }
        }
        ensure!(self.scheduler.view(self.now, 0).sessions == sessions, "not all sessions run");
        Ok(())
    }

    /// What it takes to plan anew because one lender has another speed.
    fn plan(&mut self) -> Duration {
        let Some(lender) = self.lenders.first().copied() else { return Duration::ZERO };
        self.register(lender, 900_000);
        self.now = self.scheduler.next_plan().map_or(self.now, |at| self.now.max(at));
        let start = Instant::now();
        self.scheduler.tick(self.now);
        let took = start.elapsed();
        self.settle();
        took
    }

    fn times(&mut self) -> anyhow::Result<Times> {
        let mut times = Times::default();
        for sample in 0..SAMPLES {
            let requester = self.join_requester();
            let (session, took) = self.ask(requester, 0)?;
            times.routes.push(took);
            let stage = session.stages.first().context("a route without stages")?.clone();
            let start = Instant::now();
            let share = self.scheduler.share_session(stage.node, requester, self.now);
            times.shares.push(start.elapsed());
            ensure!(share, "the members of a session may not signal each other");
            let start = Instant::now();
            let view = self.scheduler.view(self.now, 0);
            times.views.push(start.elapsed());
            ensure!(view.totals.nodes == self.lenders.len(), "not all lenders are counted");
            let lender = self.lenders[sample % self.lenders.len()];
            times.ready.push(self.lose_and_load(lender));
            let end = ToServer::EndSession {
                session: session.id,
                reason: "answered".to_owned(),
                failed_node: None,
                keeps: false,
            };
            let start = Instant::now();
            self.send(requester, end);
            times.ends.push(start.elapsed());
            self.handle(requester, Event::Left);
        }
        Ok(times)
    }

    /// A lender says that it has lost its layers, and then that it has them again; what the latter
    /// took.
    fn lose_and_load(&mut self, lender: NodeId) -> Duration {
        let (model, layers) = (self.model, LayerRange { first: 0, end: self.layers });
        // An empty range is in no assignment.
        let none = LayerRange { first: 0, end: 0 };
        self.send(lender, ToServer::LayersReady { model, layers: none });
        let start = Instant::now();
        self.send(lender, ToServer::LayersReady { model, layers });
        start.elapsed()
    }
}

/// A key that nobody has, spread as keys are.
fn node(kind: u64, number: u64) -> NodeId {
    let mut key = [0; 32];
    let mut state = number.wrapping_mul(4).wrapping_add(kind << 56);
    for bytes in key.chunks_exact_mut(8) {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    NodeId(key)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The process's memory; `None` where the system does not say.
fn resident_kilobytes() -> Option<f64> {
    usage::memory_bytes(std::process::id()).ok().map(|bytes| bytes as f64 / 1024.0)
}
