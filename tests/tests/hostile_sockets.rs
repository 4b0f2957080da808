//! Members whose connection to the server is not what it should be: bytes that are no messages, and
//! readers that do not read.

mod hostile;

use std::time::Duration;

use anyhow::ensure;
use e2e::api;
use e2e::member::Member;
use e2e::wait::{PATIENCE, until};
use hostile::Honest;
use potluck_protocol::api::InclusiveLayers;
use potluck_protocol::codec::{MAX_SDP_BYTES, MAX_SERVER_MESSAGE_BYTES, encode};
use potluck_protocol::id::{ModelId, NodeId, RequestId};
use potluck_protocol::server::{Signal, SignedSignal, ToServer};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;

/// Members that fall silent.
const ZOMBIES: u64 = 20;
/// Receive buffer of theirs, so that they are soon full.
const RECEIVE_BUFFER_BYTES: u32 = 4096;
/// Between two messages of one of them: fewer a second than the server's own limit.
const PACE: Duration = Duration::from_millis(8);
/// Between two heartbeats of a member that does not read the answers.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// What they may cost the server together.
const ZOMBIES_MEMORY_BYTES: u64 = 48 << 20;

/// Framing: members that have proved themselves send garbage, too much, half of something, or what
/// is no WebSocket frame. Each loses its own connection, while others are answered.
#[tokio::test(flavor = "multi_thread")]
async fn framing() -> anyhow::Result<()> {
    let mut honest = Honest::serving("hostile_framing", 2).await?;
    let memory = honest.server_memory()?;
    let whole = encode(&ToServer::Ask {
        request: RequestId(1),
        model: ModelId([7; 32]),
        exclude: Vec::new(),
    });
    let messages = [
        ("garbage", Message::binary(vec![0xff; 64])),
        ("nothing", Message::binary(Vec::new())),
        ("half a message", Message::binary(whole[..whole.len() / 2].to_vec())),
        ("a message and more", Message::binary([&whole[..], &[0]].concat())),
        ("text", Message::text("{}")),
        ("too much", Message::binary(vec![0; MAX_SERVER_MESSAGE_BYTES + 1])),
        (
            "the handshake again",
            Message::binary(encode(&ToServer::Hello {
                protocol: potluck_protocol::PROTOCOL_VERSION,
                numerics: potluck_protocol::NUMERICS_VERSION,
                node: NodeId([7; 32]),
            })),
        ),
    ];
    let url = honest.url();
    let attack = tokio::spawn(async move {
        for (number, (what, message)) in (1..).zip(messages) {
            let mut member = Member::join(&url, number).await?;
            // The server may close before all of it is sent.
            let _ = member.send_frame(message).await;
            let reason = member.ended().await.map_err(|error| error.context(what))?;
            ensure!(!reason.is_empty() || what == "too much", "{what} is refused without a word");
        }
        for (number, (what, bytes)) in (100..).zip(no_frames()) {
            let mut member = Member::join(&url, number).await?;
            let _ = member.stream().write_all(&bytes).await;
            member.ended().await.map_err(|error| error.context(what))?;
        }
        Ok(())
    });
    while !attack.is_finished() {
        honest.answers().await?;
    }
    attack.await??;
    honest.answers().await?;
    memory.grew_at_most(ZOMBIES_MEMORY_BYTES)?;
    honest.are_undisturbed()?;
    honest.are_alone().await
}

/// What is no WebSocket frame of a client.
fn no_frames() -> Vec<(&'static str, Vec<u8>)> {
    // A binary frame that announces 2^63 - 1 bytes, masked.
    let mut endless = vec![0x82, 0xff];
    endless.extend(i64::MAX.to_be_bytes());
    endless.extend([0; 64]);
    // Begun in fragments and never ended; more of them than a message may be long.
    let mut fragments = vec![0x02, 0xfe, 0xff, 0xff, 0, 0, 0, 0];
    fragments.extend(vec![0; 0xffff]);
    let next: Vec<u8> = [&[0x00, 0xfe, 0xff, 0xff, 0, 0, 0, 0][..], &vec![0; 0xffff]].concat();
    fragments.extend(next.repeat(3));
    vec![
        ("a frame without end", endless),
        ("fragments without end", fragments),
        ("an unmasked frame", vec![0x82, 0x04, 1, 2, 3, 4]),
        ("a reserved kind of frame", vec![0x83, 0x80, 0, 0, 0, 0]),
        ("reserved bits", vec![0xf2, 0x80, 0, 0, 0, 0]),
        ("a ping in fragments", vec![0x09, 0x80, 0, 0, 0, 0]),
        ("a ping of 126 bytes", [&[0x89, 0xfe, 0, 126, 0, 0, 0, 0][..], &[0; 126]].concat()),
        ("noise", (0..4096_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()),
    ]
}

/// Zombies: some fall silent, one says that it is there and is written to, and none of them reads.
/// All lose their place.
#[tokio::test(flavor = "multi_thread")]
async fn zombies() -> anyhow::Result<()> {
    let mut honest = Honest::serving("hostile_zombies", 2).await?;
    let url = honest.url();
    let memory = honest.server_memory()?;
    let mut silent = Vec::new();
    for number in 0..ZOMBIES {
        let mut member = Member::connect_with(&url, number, Some(RECEIVE_BUFFER_BYTES)).await?;
        member.prove().await?;
        silent.push(member);
    }
    // A lender that reads until it has layers, and a requester that is given it for a stage and
    // sends it as much as the server passes on.
    let mut zombie = Member::connect_with(&url, ZOMBIES, Some(RECEIVE_BUFFER_BYTES)).await?;
    zombie.prove().await?;
    zombie.register(None).await?;
    let held = zombie.load().await?.lease.layers;
    let node = zombie.node();
    let zombie = tokio::spawn(say_that_it_is_there(zombie));
    let instead: Vec<NodeId> = api::swarm(&url)
        .await?
        .nodes
        .into_iter()
        .filter(|other| {
            other.id != node
                && other.layers.is_some_and(|InclusiveLayers(layers)| {
                    layers.first < held.end && held.first < layers.end
                })
        })
        .map(|other| other.id)
        .collect();
    let mut writer = Member::join(&url, ZOMBIES + 1).await?;
    until("a session with the zombie in it", async || {
        let session = writer.ask_without(&instead).await?.map_err(|why| anyhow::anyhow!(why))?;
        if session.stage_of(node).is_some() {
            return Ok(Ok(()));
        }
        let (id, reason) = (session.id, "it is not in it".to_owned());
        let end = ToServer::EndSession { session: id, reason, failed_node: None };
        writer.send(&end).await?;
        Ok(Err(session))
    })
    .await?;
    let writing = tokio::spawn(write_to(writer, node));
    honest.answers().await?;
    zombie.await?;
    writing.abort();
    honest.are_alone().await?;
    drop(silent);
    memory.grew_at_most(ZOMBIES_MEMORY_BYTES)?;
    honest.answers().await?;
    honest.are_undisturbed()
}

/// Sends heartbeats until the server takes none any more.
async fn say_that_it_is_there(mut zombie: Member) {
    let deadline = Instant::now() + PATIENCE;
    while zombie.send(&ToServer::Heartbeat).await.is_ok() {
        assert!(Instant::now() < deadline, "who never reads keeps its place");
        sleep(HEARTBEAT).await;
    }
}

/// Sends signals as long as they may be, until the server has nobody to pass them on to, and after.
async fn write_to(mut writer: Member, to: NodeId) -> anyhow::Result<()> {
    for nth in 0_u32.. {
        let sdp = format!("{nth:0>MAX_SDP_BYTES$}");
        let signal = SignedSignal::new(writer.identity(), to, Signal::Offer { sdp });
        writer.send(&ToServer::Signal { to, signal }).await?;
        sleep(PACE).await;
    }
    Ok(())
}
