//! Who comes into a room with a list, and what the server passes on at a door: from one swarm into
//! another, to the two who stand there and nobody else.

mod support;

use potluck_protocol::door::{DoorEnd, FromDoor, ToDoor};
use potluck_protocol::id::NodeId;
use potluck_protocol::identity::Identity;
use potluck_protocol::invitation::{Invitation, RoomTicket};
use potluck_protocol::room::RoomSecret;
use potluck_protocol::server::{FromServer, ToServer};
use support::{Member, Running};

/// Later than anybody runs this.
const LATER_S: u64 = 1 << 40;

fn maker() -> Identity {
    Identity::from_seed(&[1; 32])
}

/// A room with a list, with a pass for `member` until then.
fn kept(member: NodeId, until_s: u64) -> Invitation {
    let room = Invitation::kept_by(&maker(), RoomSecret([9; 16]));
    let keeper = room.keeper_of(&maker()).expect("its maker keeps it");
    room.with(Some(RoomTicket::new(&keeper, room.room(), member, until_s)))
}

#[tokio::test]
async fn only_those_on_the_list_come_in() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let me = Member::connect(&server, 2).await?.node();
    let room = kept(me, LATER_S);
    Member::join_room(&server, 2, room).await?;
    // Nobody else: without a pass, with another's, one that has ended, or of another room.
    let elsewhere = Invitation::kept_by(&maker(), RoomSecret([8; 16])).with(room.ticket);
    for (seed, room, why) in [
        (2, room.with(None), "no pass was shown"),
        (3, room, "not one of this room for this key"),
        (2, kept(me, 1), "the pass has ended"),
        (2, elsewhere, "not one of this room for this key"),
    ] {
        let refused = Member::join_room(&server, seed, room).await.err().expect(why).to_string();
        assert!(refused.contains(why), "{refused}");
        assert!(refused.contains("retry_after_ms: None"), "it is for good: {refused}");
    }
    // Without its list it is another room, which the members are not in.
    Member::join_room(&server, 3, RoomSecret([9; 16])).await?;
    Ok(())
}

#[tokio::test]
async fn a_door_leads_from_one_swarm_into_another() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let mut member = Member::join_room(&server, 2, RoomSecret([9; 16])).await?;
    let mut newcomer = Member::join(&server, 3).await?;
    member.send(&ToServer::Door(ToDoor::Open { hello: vec![1] })).await;
    let FromServer::Door(FromDoor::Opened { door }) = member.receive().await else {
        panic!("no door")
    };
    newcomer.send(&ToServer::Door(ToDoor::Try { door })).await;
    let hello = FromDoor::Hello { door, hello: vec![1] };
    assert_eq!(newcomer.receive().await, FromServer::Door(hello));
    newcomer.send(&ToServer::Door(ToDoor::Knock { door, knock: vec![2] })).await;
    let knocked = FromDoor::Knocked { door, knock: vec![2] };
    assert_eq!(member.receive().await, FromServer::Door(knocked));
    member.send(&ToServer::Door(ToDoor::Answer { door, sealed: vec![3] })).await;
    assert_eq!(member.receive().await, FromServer::Door(FromDoor::Passed { door }));
    let answered = FromDoor::Answered { door, sealed: vec![3] };
    assert_eq!(newcomer.receive().await, FromServer::Door(answered));

    // A member that goes takes its door with it.
    member.send(&ToServer::Door(ToDoor::Open { hello: vec![1] })).await;
    let FromServer::Door(FromDoor::Opened { door }) = member.receive().await else {
        panic!("no door")
    };
    newcomer.send(&ToServer::Door(ToDoor::Try { door })).await;
    assert!(matches!(newcomer.receive().await, FromServer::Door(FromDoor::Hello { .. })));
    drop(member);
    let left = FromDoor::Closed { door, why: DoorEnd::Left };
    assert_eq!(newcomer.receive().await, FromServer::Door(left));
    Ok(())
}
