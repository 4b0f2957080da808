//! Sessions that end to be gone on with: the same stages again, as long as they are what they were.

use potluck_protocol::limits::KEPT_SESSION;

use super::*;

fn ask(world: &mut World, node: u8, continues: Option<SessionId>) -> Session {
    let (request, model) = (RequestId(1), world.model);
    let ask = ToServer::Ask { request, model, exclude: Vec::new(), continues };
    route(&world.send(node, ask)).expect("a route")
}

fn keep(world: &mut World, by: u8, session: SessionId) {
    let (reason, failed_node) = ("the answer is whole".to_owned(), None);
    world.send(by, ToServer::EndSession { session, reason, failed_node, keeps: true });
}

fn nodes(session: &Session) -> Vec<u8> {
    session.stages.iter().map(|stage| stage.node.0[0]).collect()
}

/// Four nodes, each layer held twice, and a requester.
fn world() -> World {
    let mut world = World::new(4);
    world.join(9);
    for node in 1..=4 {
        world.register_as(node, 1 << 40);
    }
    world.plan_and_load();
    world
}

#[test]
fn the_same_stages_go_on_however_busy_they_are() {
    let mut world = world();
    let first = ask(&mut world, 9, None);
    keep(&mut world, 9, first.id);
    // Others keep these stages busy meanwhile: a route of its own would be by the others.
    world.join(8);
    let other = ask(&mut world, 8, None);
    assert_eq!(nodes(&other), nodes(&first), "nobody else has more to do");
    let next = ask(&mut world, 9, Some(first.id));
    assert_eq!((nodes(&next), next.continues), (nodes(&first), Some(first.id)));
    assert_ne!(next.id, first.id);
    // Once only: it is another session now.
    let again = ask(&mut world, 9, Some(first.id));
    assert_eq!(again.continues, None);
}

#[test]
fn tickets_say_that_the_first_receipt_begins_anywhere() {
    let mut world = world();
    let first = ask(&mut world, 9, None);
    keep(&mut world, 9, first.id);
    let (request, model, continues) = (RequestId(1), world.model, Some(first.id));
    let ask = ToServer::Ask { request, model, exclude: Vec::new(), continues };
    let actions = world.send(9, ask);
    let tickets = actions.iter().filter_map(|Action::Send(_, message)| match message {
        FromServer::Serve { ticket, .. } => Some(ticket.ticket.continues),
        _ => None,
    });
    let says: Vec<bool> = tickets.collect();
    assert!(!says.is_empty() && says.iter().all(|says| *says), "{says:?}");
}

#[test]
fn nobody_goes_on_with_anothers_session_or_with_one_that_was_not_kept() {
    let mut world = world();
    world.join(8);
    let first = ask(&mut world, 9, None);
    keep(&mut world, 8, first.id);
    keep(&mut world, nodes(&first)[0], first.id);
    assert_eq!(ask(&mut world, 9, Some(first.id)).continues, None, "not its requester's word");
    let second = ask(&mut world, 9, None);
    keep(&mut world, 9, second.id);
    assert_eq!(ask(&mut world, 8, Some(second.id)).continues, None, "somebody else's");
    assert_eq!(ask(&mut world, 9, Some(second.id)).continues, Some(second.id), "and it is there");
}

#[test]
fn a_stage_that_began_anew_or_paused_or_left_kept_nothing() {
    let changes: [fn(&mut World, u8); 3] = [
        |world, node| {
            world.register_as(node, 1 << 40);
            world.plan_and_load();
        },
        |world, node| _ = world.send(node, ToServer::Pace { percent: 0 }),
        |world, node| _ = world.handle(node, Event::Left),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut world = world();
        let first = ask(&mut world, 9, None);
        keep(&mut world, 9, first.id);
        change(&mut world, nodes(&first)[0]);
        let (request, model, continues) = (RequestId(1), world.model, Some(first.id));
        let ask = ToServer::Ask { request, model, exclude: Vec::new(), continues };
        // Where nobody else has the layers, it waits.
        let next = route(&world.send(9, ask));
        assert!(next.is_none_or(|next| next.continues.is_none()), "change {at}");
    }
}

#[test]
fn it_is_forgotten_in_the_end() {
    let mut world = world();
    let first = ask(&mut world, 9, None);
    keep(&mut world, 9, first.id);
    world.now += KEPT_SESSION;
    assert_eq!(ask(&mut world, 9, Some(first.id)).continues, None);
}
