//! A member that claims what it does not hold: neither does it capture the prompts, nor keep honest
//! nodes from being placed.

mod hostile;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::api;
use e2e::member::{Member, capabilities};
use e2e::wait::until;
use hostile::Honest;
use potluck_protocol::id::LayerRange;
use potluck_protocol::lease::{Lease, SignedLease};
use potluck_protocol::server::{Capabilities, FromServer, ToServer};
use tokio::time::interval;

/// Far longer than any test.
const FOR_EVER_S: u64 = 4_000_000_000;

/// Capture: all layers before the first plan, and a registration every 200 ms, each of them
/// different.
#[tokio::test(flavor = "multi_thread")]
async fn capture() -> anyhow::Result<()> {
    let mut honest = Honest::nobody_yet("hostile_capture").await?;
    let mut greedy = Member::join(&honest.url(), 1).await?;
    let (node, model) = (greedy.node(), greedy.model()?.clone());
    let everything = LayerRange::new(0, model.layers).context("the model has layers")?;
    let attack = tokio::spawn(async move {
        let mut every = interval(Duration::from_millis(200));
        for round in 0_u64.. {
            every.tick().await;
            let capabilities = Capabilities {
                memory_bytes: u64::MAX,
                macs_per_ms: u64::MAX - round,
                ..capabilities()
            };
            greedy.register_with(capabilities, None).await?;
            greedy.layers_ready(model.id, everything).await?;
        }
        anyhow::Ok(())
    });

    honest.add(3)?;
    // Nobody is kept from being placed, and the one who claims everything has its share and no more.
    until("the honest nodes to have layers", async || {
        let swarm = api::swarm(&honest.url()).await?;
        let placed = swarm.nodes.iter().filter(|it| it.id != node && it.layers.is_some()).count();
        Ok(if placed == 3 { Ok(()) } else { Err(placed) })
    })
    .await?;
    let swarm = api::swarm(&honest.url()).await?;
    let held = swarm.nodes.iter().find(|it| it.id == node).and_then(|it| it.layers);
    ensure!(held.is_none_or(|layers| layers.0 != everything), "it was given everything");
    honest.are_undisturbed()?;
    // It is still at it, unless the server has had enough.
    attack.abort();
    Ok(())
}

/// Lease forgery: a lease that the member signed itself, and one that is another node's.
#[tokio::test(flavor = "multi_thread")]
async fn lease_forgery() -> anyhow::Result<()> {
    let mut honest = Honest::serving("hostile_lease_forgery", 2).await?;
    let mut witness = Member::join(&honest.url(), 9).await?;

    // A member that was given layers fairly, and passes its lease on to another.
    let mut accomplice = Member::join(&honest.url(), 2).await?;
    accomplice.register(None).await?;
    let stolen = accomplice.load().await?;
    accomplice.send(&ToServer::Deregister).await?;

    let mut forger = Member::join(&honest.url(), 3).await?;
    let model = forger.model()?.clone();
    let everything = LayerRange::new(0, model.layers).context("the model has layers")?;
    let lease =
        Lease { node: forger.node(), model: model.id, layers: everything, until_s: FOR_EVER_S };
    let own = SignedLease::new(forger.identity(), lease);
    for lease in [own, stolen] {
        let layers = lease.lease.layers;
        // The server may end the connection for it, or take the registration as one without a
        // lease.
        let told = async {
            forger.register(Some(lease)).await?;
            forger.layers_ready(model.id, layers).await
        };
        if told.await.is_err() {
            forger = Member::join(&honest.url(), 3).await?;
        }
        for _ in 0..3 {
            let session = witness.ask().await?.map_err(|reason| anyhow::anyhow!(reason))?;
            let takes_part = session.stages.iter().any(|stage| stage.node == forger.node());
            ensure!(!takes_part, "a forged lease was as good as one: {session:?}");
            let (session, reason) = (session.id, "seen enough".to_owned());
            witness
                .send(&ToServer::EndSession { session, reason, failed_node: None, keeps: false })
                .await?;
        }
        // Whatever it is given in the end comes with the server's own signature, for fewer layers.
        forger.send(&ToServer::Deregister).await?;
    }
    honest.answers().await?;
    honest.are_undisturbed()
}

/// What the server assigns is signed by it for the node, and ends some day.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_the_servers_word_for_one_node() -> anyhow::Result<()> {
    let honest = Honest::nobody_yet("hostile_lease").await?;
    let mut first = Member::join(&honest.url(), 4).await?;
    first.register(None).await?;
    let lease = loop {
        if let FromServer::Assign { lease: Some(lease), .. } = first.receive().await? {
            break lease;
        }
    };
    ensure!(lease.lease.node == first.node() && lease.lease.until_s < FOR_EVER_S);
    ensure!(!lease.is_from(first.node()), "the node itself is not who signs it");
    Ok(())
}
