//! Requesters that misbehave on their connections to stages, which compute for others meanwhile:
//! the others' answers go on and are the same, and the node stays what it was.

mod hostile;

use std::time::Duration;

use anyhow::ensure;
use e2e::question::Question;
use e2e::usage;
use hostile::Honest;
use hostile::rogue::Rogue;
use potluck_protocol::codec::{MAX_D_MODEL, MAX_ROWS};
use potluck_protocol::id::SessionId;
use potluck_protocol::limits::{INITIAL_WINDOW_ROWS, MAX_SESSIONS_PER_REQUESTER};
use potluck_protocol::peer::PeerFrame;
use tokio::time::interval;

/// What a hostile peer may cost a node: what a transport may hold unread of it (32 MB), the same
/// once more while it is decoded, and what the system has not given back yet.
const PEER_MEMORY_BYTES: u64 = 128 << 20;
/// Connections that a node may have left open for a moment because of one peer.
const PEER_FILES: usize = 40;

/// Re-offering flood: signed offers for a new connection, two hundred a second.
#[tokio::test(flavor = "multi_thread")]
async fn re_offering_flood() -> anyhow::Result<()> {
    let mut honest = Honest::serving("hostile_re_offers", 2).await?;
    let natives: Vec<_> = honest.volunteers().await?.into_iter().collect();
    let mut rogue = Rogue::open(&honest.url(), 1, &natives).await?;
    let memory = honest.memory()?;
    let files = open_files(&honest)?;
    let target = rogue.first_stage();
    let attack = tokio::spawn(async move {
        let mut every = interval(Duration::from_millis(5));
        for nth in 0..800 {
            every.tick().await;
            rogue.offer_again(target, nth).await?;
            // What the stage answers is heard and ignored.
            rogue.linger(Duration::ZERO).await?;
        }
        anyhow::Ok(rogue)
    });
    while !attack.is_finished() {
        honest.answers().await?;
    }
    // The server or the stage may have had enough of it.
    let rogue = attack.await?;
    honest.answers().await?;
    memory.grew_at_most(PEER_MEMORY_BYTES)?;
    for (before, after) in files.iter().zip(open_files(&honest)?) {
        ensure!(after <= before + PEER_FILES, "{after} open files, and {before} before the flood");
    }
    drop(rogue);
    honest.are_undisturbed()
}

/// Early frames: rows of sessions that nobody announced, as wide as a frame may be.
#[tokio::test(flavor = "multi_thread")]
async fn early_frame_bytes() -> anyhow::Result<()> {
    let mut honest = Honest::serving("hostile_early_frames", 2).await?;
    let mut rogue = Rogue::open(&honest.url(), 1, &[]).await?;
    let memory = honest.memory()?;
    let target = rogue.first_stage();
    let attack = tokio::spawn(async move {
        // Zeros: one byte each on the way, four bytes each where they are kept.
        let values = vec![0; MAX_ROWS * MAX_D_MODEL];
        let rows = u32::try_from(MAX_ROWS)?;
        for session in 0..30 {
            let session = SessionId([session; 16]);
            let values = values.clone();
            let frame = PeerFrame::Hidden { session, position: 0, rows, values, sampling: None };
            rogue.send(target, &frame);
        }
        rogue.linger(Duration::from_secs(4)).await?;
        anyhow::Ok(rogue)
    });
    while !attack.is_finished() {
        honest.answers().await?;
    }
    let rogue = attack.await??;
    honest.answers().await?;
    memory.grew_at_most(PEER_MEMORY_BYTES)?;
    drop(rogue);
    honest.are_undisturbed()
}

/// Empty frames: steps without a token and rows without a row, as many as a connection takes. The
/// first one is enough for the stage.
#[tokio::test(flavor = "multi_thread")]
async fn empty_frames() -> anyhow::Result<()> {
    let mut honest = Honest::serving("hostile_empty_frames", 2).await?;
    for nothing in [no_token, no_row] {
        let mut rogue = Rogue::open(&honest.url(), 1, &[]).await?;
        let memory = honest.memory()?;
        let target = rogue.first_stage();
        let frame = nothing(rogue.sessions[0].id);
        for _ in 0..10_000 {
            rogue.send(target, &frame);
        }
        let attack = tokio::spawn(async move { rogue.rebuke().await });
        while !attack.is_finished() {
            honest.answers().await?;
        }
        attack.await??;
        honest.answers().await?;
        memory.grew_at_most(PEER_MEMORY_BYTES)?;
    }
    honest.are_undisturbed()
}

fn no_token(session: SessionId) -> PeerFrame {
    PeerFrame::Step { session, position: 0, tokens: Vec::new(), sampling: None }
}

fn no_row(session: SessionId) -> PeerFrame {
    PeerFrame::Hidden { session, position: 0, rows: 0, values: Vec::new(), sampling: None }
}

/// Long-prompt freeze: in every session that one requester may have, a prompt of twice the window
/// at once. Others' answers go on, and so does an honest long prompt, which waits for its windows.
#[tokio::test(flavor = "multi_thread")]
async fn long_prompt_freeze() -> anyhow::Result<()> {
    let mut honest = Honest::serving("hostile_long_prompt", 2).await?;
    let mut rogue = Rogue::open(&honest.url(), MAX_SESSIONS_PER_REQUESTER, &[]).await?;
    let memory = honest.memory()?;
    let attack = tokio::spawn(async move {
        let rows = u32::try_from(MAX_ROWS)?;
        let targets: Vec<_> = rogue.sessions.iter().map(|s| (s.id, s.stages[0].node)).collect();
        for step in 0..2 * INITIAL_WINDOW_ROWS / rows {
            for (session, target) in &targets {
                let (position, tokens) = (step * rows, vec![1; MAX_ROWS]);
                let session = *session;
                rogue.send(*target, &PeerFrame::Step { session, position, tokens, sampling: None });
            }
        }
        rogue.rebuke().await
    });
    while !attack.is_finished() {
        honest.answers().await?;
    }
    attack.await??;

    // About 400 tokens: more than a window, and with its answer within the model's context.
    let words = "The fox took the lantern and went up the hill. ".repeat(30);
    let long = Question::new(&words, 3).at_most(24);
    let expected = long.local(honest.swarm.server.data(), "scalar").await?;
    let asking = honest.swarm.start_asking_as("long", &long)?;
    honest.answers().await?;
    ensure!(asking.answer().await?.token_ids == expected.token_ids, "a long prompt is answered");
    memory.grew_at_most(PEER_MEMORY_BYTES)?;
    honest.are_undisturbed()
}

fn open_files(honest: &Honest) -> anyhow::Result<Vec<usize>> {
    honest.swarm.natives.iter().map(|node| usage::open_files(node.id())).collect()
}
