//! Who offers a machine shows the grant of its volunteer. One that is forged, over, another server's or
//! another node's is refused with a sentence, nothing is assigned, and the connection goes on.

mod support;

use potluck_protocol::grant::{
    CLOCK_TOLERANCE_S, DAY_S, Grant, GrantFault, Limits, MAX_GRANT_S, SignedGrant,
};
use potluck_protocol::id::{LayerRange, RequestId};
use potluck_protocol::identity::Identity;
use potluck_protocol::server::{Capabilities, FromServer, NodeKind, ToServer};
use support::{Member, Running};

/// Offers to compute under a grant; what the server says to it: why it does not take it, or what it
/// assigns.
async fn offer(member: &mut Member, grant: SignedGrant) -> Result<LayerRange, String> {
    let capabilities = Capabilities {
        kind: NodeKind::Native,
        backend: "avx2".to_owned(),
        memory_bytes: 1 << 30,
        macs_per_ms: 1_000_000,
    };
    let grant = Box::new(grant);
    member.send(&ToServer::Register { capabilities, grant, lease: None }).await;
    loop {
        match member.receive().await {
            FromServer::LendingRefused { reason } => return Err(reason),
            FromServer::Assign { lease: Some(lease), .. } => return Ok(lease.lease.layers),
            _ => {}
        }
    }
}

#[tokio::test]
async fn only_grants_that_hold_are_taken() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let mut member = Member::join(&server, 1).await?;
    let good = member.grant();
    let now_s = good.grant.given_s;
    let (me, other) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let signed = |by: &Identity, change: fn(&mut Grant, u64)| {
        let mut grant = good.grant.clone();
        change(&mut grant, now_s);
        SignedGrant::new(by, grant)
    };
    let mut raised = good.clone();
    raised.grant.until_s += 1;
    let of_other = Grant { node: other.node(), ..good.grant.clone() };
    for (grant, fault) in [
        (signed(&other, |_, _| ()), GrantFault::NotSigned),
        (SignedGrant::new(&other, of_other), GrantFault::OtherNode),
        (
            signed(&me, |it, _| it.to = "https://elsewhere.example".to_owned()),
            GrantFault::OtherServer,
        ),
        (
            signed(&me, |it, now_s| {
                it.given_s = now_s - 2 * DAY_S;
                it.until_s = now_s - 1;
            }),
            GrantFault::Ended,
        ),
        (
            signed(&me, |it, now_s| {
                it.given_s = now_s + CLOCK_TOLERANCE_S + 60;
                it.until_s = it.given_s + DAY_S;
            }),
            GrantFault::FromTheFuture,
        ),
        (signed(&me, |it, _| it.until_s = it.given_s + MAX_GRANT_S + 1), GrantFault::Duration),
        (
            signed(&me, |it, _| it.limits.gpu_percent = 0),
            GrantFault::Percent { what: "the GPU", percent: 0 },
        ),
        (signed(&me, |it, _| it.limits.memory_bytes = 0), GrantFault::Nothing { what: "memory" }),
    ] {
        assert_eq!(offer(&mut member, grant).await, Err(fault.to_string()));
    }
    // One day more than was signed.
    let refused = offer(&mut member, raised).await;
    assert!(refused.is_err(), "{refused:?}");
    // All the while it may ask, and is told that nobody computes.
    let model = member.models[0].id;
    let (request, exclude) = (RequestId(7), Vec::new());
    member.send(&ToServer::Ask { request, model, exclude, continues: None }).await;
    let FromServer::Waiting { missing, .. } = member.receive().await else {
        anyhow::bail!("no answer to a question")
    };
    assert!(!missing.is_empty(), "nothing was assigned");
    let everything = offer(&mut member, good).await;
    assert!(everything.is_ok(), "{everything:?}");
    Ok(())
}

#[tokio::test]
async fn no_more_memory_counts_than_was_granted() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let (mut small, mut large) = (Member::join(&server, 1).await?, Member::join(&server, 2).await?);
    // It says that it has a gigabyte, and was lent one byte of it.
    let limits = Limits { memory_bytes: 1, ..Limits::native() };
    let grant = Grant { limits, ..small.grant().grant };
    let grant = SignedGrant::new(&Identity::from_seed(&[1; 32]), grant);
    let capabilities = Capabilities {
        kind: NodeKind::Native,
        backend: "avx2".to_owned(),
        memory_bytes: 1 << 30,
        macs_per_ms: 1_000_000,
    };
    let grant = Box::new(grant);
    small.send(&ToServer::Register { capabilities, grant, lease: None }).await;
    let granted = large.grant();
    let all = LayerRange { first: 0, end: large.models[0].layers };
    assert_eq!(offer(&mut large, granted).await, Ok(all), "there is nobody else with room");
    Ok(())
}
