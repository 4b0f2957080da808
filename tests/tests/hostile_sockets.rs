//! Members whose connection to the server is not what it should be: bytes that are no messages.

mod hostile;

use anyhow::{Context as _, ensure};
use e2e::member::Member;
use hostile::Honest;
use potluck_protocol::codec::{MAX_SERVER_MESSAGE_BYTES, encode};
use potluck_protocol::id::{ModelId, NodeId, RequestId};
use potluck_protocol::server::ToServer;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;

/// What the attackers may cost the server together.
const ATTACK_MEMORY_BYTES: u64 = 48 << 20;

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
        continues: None,
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
    memory.grew_at_most(ATTACK_MEMORY_BYTES)?;
    honest.are_undisturbed()?;
    honest.are_alone().await
}

/// Zombies: members that hold layers and then say nothing, or are told that another connection has
/// taken their place and stay. Neither is waited for: the answers are computed by others, and the
/// connections are closed, with all that the server kept of them.
#[tokio::test(flavor = "multi_thread")]
async fn zombies() -> anyhow::Result<()> {
    let mut honest = Honest::serving("hostile_zombies", 2).await?;
    let memory = honest.server_memory()?;

    // Says that it has what it was given, and then nothing; it reads nothing either.
    let mut silent = Member::join(&honest.url(), 1).await?;
    silent.register(None).await?;
    silent.load().await?;

    // One identity on one connection after the other; all of them stay open at this end.
    let mut replaced = Vec::new();
    for _ in 0..40 {
        let mut member = Member::join(&honest.url(), 2).await?;
        member.register(None).await?;
        replaced.push(member);
    }
    let last = replaced.pop().context("there were some")?.keep();
    for member in &mut replaced {
        let reason = member.ended().await?;
        ensure!(reason.contains("connected elsewhere"), "it is told why: {reason:?}");
    }
    ensure!(last.is_connected(), "the one that came last stays");
    drop(last);

    honest.answers().await?;
    honest.are_alone().await?;
    silent.ended().await?;
    honest.answers().await?;
    memory.grew_at_most(ATTACK_MEMORY_BYTES)?;
    honest.are_undisturbed()
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
