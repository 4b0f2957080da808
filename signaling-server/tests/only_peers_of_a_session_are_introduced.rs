//! A route introduces its members to each other and to nobody else; when one goes, the others read
//! it at once.

mod support;

use potluck_protocol::server::{FromServer, Signal, SignedSignal, ToServer};
use support::{Member, Running};

#[tokio::test]
async fn only_peers_of_a_session_are_introduced() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let mut volunteer = Member::join(&server, 1).await?;
    volunteer.register().await;
    let mut stranger = Member::join(&server, 2).await?;
    let mut requester = Member::join(&server, 3).await?;
    let session = requester.ask().await;
    assert_eq!(volunteer.serve().await, session);
    assert_eq!(session.requester, requester.node());
    assert_eq!(session.stages[0].node, volunteer.node());

    let signal = |from: &Member, to: &Member, sdp: &str| {
        let signal = SignedSignal::new(
            &from.identity,
            to.node(),
            Signal::Offer { sdp: sdp.to_owned() },
            None,
        );
        ToServer::Signal { to: to.node(), signal }
    };
    // The stranger's comes first, and is not passed on; the requester's is.
    stranger.send(&signal(&stranger, &volunteer, "stranger")).await;
    // The server handles its next message after the signal, so the answer to that shows that the
    // signal has been dealt with.
    let model = stranger.model();
    stranger
        .send(&ToServer::Ask {
            request: potluck_protocol::id::RequestId(9),
            model,
            exclude: Vec::new(),
            continues: None,
        })
        .await;
    while !matches!(stranger.receive().await, FromServer::Route { .. }) {}
    let other = volunteer.serve().await;
    assert_eq!(other.requester, stranger.node());
    requester.send(&signal(&requester, &volunteer, "requester")).await;
    let FromServer::Signal { from, signal } = volunteer.receive().await else {
        panic!("not the requester's signal")
    };
    assert_eq!(from, requester.node());
    assert!(signal.is_from(requester.node(), volunteer.node(), None));

    volunteer.vanish();
    loop {
        if let FromServer::SessionEnded { session: ended, reason, .. } = requester.receive().await {
            assert_eq!(ended, session.id);
            assert!(!reason.is_empty());
            break;
        }
    }
    Ok(())
}
