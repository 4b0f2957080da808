//! Receipts verified and credited, by a server whose table is full of older ones.
//!
//! Stages and requesters are made here; all that is handed in is signed before the clock starts.
//! Each session of each stage has one receipt on its way at a time, as nodes do it, and a stage
//! many sessions.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::measured::Measured;
use e2e::member::{Kept, Member, identity};
use e2e::server::Server;
use e2e::usage;
use futures::future::try_join_all;
use potluck_protocol::id::NodeId;
use potluck_protocol::limits::MAX_SESSIONS_PER_REQUESTER;
use potluck_protocol::receipt::{Receipt, ReceiptId, SignedReceipt};
use potluck_protocol::server::{FromServer, ToServer, Verdict};
use potluck_protocol::ticket::SignedTicket;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::Scale;
use super::filling::fill;
use super::rig::Builder;

/// Receipts in the table beforehand.
const OLDER: usize = 1_000_000;
/// Lenders: more than the model has layers, so that some ranges are held twice.
const STAGES: u64 = 12;
/// Requesters, each with as many sessions as one may have.
const REQUESTERS: u64 = 64;
/// Receipts of one stage in one session, of one position each.
const EACH: u32 = 8;
/// Receipts of one stage on their way at once: fewer than the server's queue of answers to it.
const IN_FLIGHT: usize = 64;
/// The server may be handed receipts in no faster than positions can have been computed: so long
/// after the sessions opened, eight positions can.
const AGE: Duration = Duration::from_secs(4);
/// Nobody's layers move any more, and every message has arrived.
const SETTLED: Duration = Duration::from_secs(3);
/// No longer than this; what is credited by then counts.
const AT_MOST: Duration = Duration::from_secs(30);
/// A swarm of ten thousand at one token a second each has one receipt of 64 positions from each of
/// some stages: 1,000 a second, and five times that after a restart.
const RECEIPTS_AIM: f64 = 5_000.0;

/// What one stage has to hand in, by session, oldest first.
type Work = Vec<VecDeque<(SignedReceipt, SignedTicket)>>;

/// Fills the table and measures.
pub(super) async fn measure(
    builder: &Builder,
    data: &Path,
    scale: Scale,
    measured: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    let older = scale.of(OLDER);
    // Once, so that there is a receipt to fill the table with.
    let mut server = builder.start(data, "receipts-first", false).await?;
    let first = Round::open(&server, 1, 1).await?.hand_in(&server).await?;
    ensure!(first.credited > 0, "no receipt is credited: {}", first.refusal);
    server.stop().await?;
    eprintln!("{older} receipts into the table");
    fill(data, older).await?;
    let started = Instant::now();
    let mut server = builder.start(data, "receipts", false).await?;
    let start = started.elapsed();

    let round = Round::open(&server, REQUESTERS, EACH).await?;
    let count: usize = round.work.values().flatten().map(VecDeque::len).sum();
    eprintln!("{count} receipts to be credited");
    sleep(AGE.saturating_sub(round.opened.elapsed())).await;
    let done = round.hand_in(&server).await?;
    if done.refused > 0 {
        eprintln!("{} receipts were refused, as in: {}", done.refused, done.refusal);
    }
    server.stop().await?;
    let name = |what: &str| format!("receipts verified and credited, {older} in the table{what}");
    let each = done.processor.as_secs_f64() / (done.credited.max(1) as f64);
    measured.extend([
        Measured::new(&name(""), done.credited as f64 / done.elapsed.as_secs_f64(), "receipts/s")
            .aiming_at(RECEIPTS_AIM),
        Measured::new(&name(", processor time of the server each"), each * 1e6, "us"),
        Measured::new(&name(", start of the server"), start.as_secs_f64(), "s"),
    ]);
    Ok(())
}

/// Sessions with their receipts, signed by both.
struct Round {
    stages: BTreeMap<NodeId, Kept>,
    /// Sessions end when they leave.
    _requesters: Vec<Kept>,
    work: BTreeMap<NodeId, Work>,
    opened: Instant,
}

/// What came of it.
#[derive(Default)]
struct Done {
    credited: usize,
    refused: usize,
    refusal: String,
    elapsed: Duration,
    processor: Duration,
}

impl Round {
    /// Opens the sessions, and signs `each` receipts of every stage in every one of them.
    async fn open(server: &Server, requesters: u64, each: u32) -> anyhow::Result<Self> {
        let url = server.url();
        let (served, mut tickets) = mpsc::unbounded_channel();
        let mut stages = BTreeMap::new();
        for number in 0..STAGES {
            let mut member = Member::join(&url, number).await?;
            member.register(None).await?;
            let (node, served) = (member.node(), served.clone());
            let kept = member.keep_lending(move |message| {
                if let FromServer::Serve { ticket, .. } = message {
                    // The other end is dropped when all tickets are there.
                    let _ = served.send(SignedTicket::clone(ticket));
                }
            });
            stages.insert(node, kept);
        }
        // Layers move while members come.
        sleep(SETTLED).await;
        let (mut kept, mut expected, mut keys) = (Vec::new(), 0, BTreeMap::new());
        for number in STAGES..STAGES + requesters {
            let mut requester = Member::join(&url, number).await?;
            keys.insert(requester.node(), number);
            for _ in 0..MAX_SESSIONS_PER_REQUESTER {
                let session = requester.ask().await?.map_err(|reason| anyhow::anyhow!(reason))?;
                expected += session.stages.len();
            }
            kept.push(requester.keep());
        }
        let opened = Instant::now();
        let mut work: BTreeMap<NodeId, Work> = BTreeMap::new();
        for _ in 0..expected {
            let ticket = timeout(SETTLED, tickets.recv()).await;
            let ticket = ticket.context("a stage is not told of its session")?;
            let ticket = ticket.context("the stages are gone")?;
            let requester = keys.get(&ticket.ticket.requester).context("one of ours asked")?;
            let stage = ticket.ticket.stage;
            let number = (0..STAGES).find(|number| identity(*number).node() == stage);
            let number = number.context("one of ours is the stage")?;
            work.entry(stage).or_default().push(sign(&ticket, number, *requester, each));
        }
        Ok(Self { stages, _requesters: kept, work, opened })
    }

    /// Hands everything in, all stages at once.
    async fn hand_in(self, server: &Server) -> anyhow::Result<Done> {
        let Self { mut stages, _requesters, work, .. } = self;
        let mut members = Vec::new();
        for (stage, work) in work {
            let kept = stages.remove(&stage).context("the stage is there")?;
            members.push((kept.back().await?, work));
        }
        let (processor, started) = (usage::processor_time(server.id())?, Instant::now());
        let done = try_join_all(
            members
                .into_iter()
                .map(|(member, work)| tokio::spawn(hand_in_all(member, work, started + AT_MOST))),
        )
        .await?;
        let mut all = Done { elapsed: started.elapsed(), ..Done::default() };
        all.processor = usage::processor_time(server.id())?.saturating_sub(processor);
        for done in done {
            let (credited, refused, refusal) = done?;
            all.credited += credited;
            all.refused += refused;
            if all.refusal.is_empty() {
                all.refusal = refusal;
            }
        }
        Ok(all)
    }
}

/// `each` receipts of one position, one after the other.
fn sign(
    ticket: &SignedTicket,
    stage: u64,
    requester: u64,
    each: u32,
) -> VecDeque<(SignedReceipt, SignedTicket)> {
    let (stage, requester) = (identity(stage), identity(requester));
    let of = &ticket.ticket;
    (0..each)
        .map(|sequence| {
            let receipt = Receipt {
                session: of.session,
                model: of.model,
                stage: of.stage,
                requester: of.requester,
                layers: of.layers,
                sequence,
                from_position: sequence,
                to_position: sequence + 1,
                sampled: 0,
                output_hash: [5; 32],
            };
            let signed = SignedReceipt {
                stage_signature: receipt.sign(&stage),
                requester_signature: receipt.sign(&requester),
                receipt,
            };
            (signed, ticket.clone())
        })
        .collect()
}

/// How many of one stage's receipts were credited, how many refused, and the first reason.
async fn hand_in_all(
    mut stage: Member,
    mut work: Work,
    deadline: Instant,
) -> anyhow::Result<(usize, usize, String)> {
    let (mut credited, mut refused, mut refusal) = (0, 0, String::new());
    let mut ready: VecDeque<usize> = (0..work.len()).collect();
    let mut waiting: BTreeMap<ReceiptId, usize> = BTreeMap::new();
    while Instant::now() < deadline {
        while waiting.len() < IN_FLIGHT
            && let Some(session) = ready.pop_front()
        {
            let Some((receipt, ticket)) = work[session].front().cloned() else { continue };
            waiting.insert(receipt.receipt.id(), session);
            let (receipt, ticket) = (Box::new(receipt), Box::new(ticket));
            stage.send(&ToServer::Receipt { receipt, ticket }).await?;
        }
        if waiting.is_empty() {
            break;
        }
        let FromServer::ReceiptResult { receipt, verdict } = stage.receive().await? else {
            continue;
        };
        let Some(session) = waiting.remove(&receipt) else { continue };
        match verdict {
            Verdict::Credited { .. } => credited += 1,
            Verdict::TryAgain => {
                // Not at the head of the queue: it had its turn.
                ready.push_back(session);
                continue;
            }
            Verdict::Refused { reason } => {
                refused += 1;
                if refusal.is_empty() {
                    refusal = reason;
                }
            }
        }
        work[session].pop_front();
        ready.push_back(session);
    }
    Ok((credited, refused, refusal))
}
