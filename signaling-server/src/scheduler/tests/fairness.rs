//! What one requester can take, and who earns by whom.

use potluck_protocol::limits::MAX_SESSIONS_PER_REQUESTER;

use super::*;
use crate::scheduler::sessions::IDLE;

fn ask_as(world: &mut World, node: u8, request: u32) -> Option<Session> {
    let (request, model) = (RequestId(request), world.model);
    route(&world.send(node, ToServer::Ask { request, model, exclude: Vec::new(), continues: None }))
}

/// Reproduced before there was a bound: one key opened 300 sessions.
#[test]
fn a_hog_gets_eight_sessions() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.plan_and_load();
    world.join(8);
    world.join(9);
    let opened = (0..300).filter(|request| ask_as(&mut world, 9, *request).is_some()).count();
    assert_eq!((opened, MAX_SESSIONS_PER_REQUESTER), (8, 8));
    assert_eq!(world.view().sessions, 8);
    assert!(ask_as(&mut world, 8, 0).is_some(), "others have theirs");
}

#[test]
fn a_session_without_activity_ends() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.plan_and_load();
    world.join(9);
    let idle = ask_as(&mut world, 9, 1).unwrap().id;
    let busy = ask_as(&mut world, 9, 2).unwrap().id;
    world.now += IDLE - Duration::from_secs(1);
    assert_eq!(world.tick(), vec![]);
    world.handle(1, Event::Worked { session: busy, macs: 1 });
    // Work of somebody who is no stage of a session does not keep it alive.
    world.handle(9, Event::Worked { session: idle, macs: 1 });
    world.now += Duration::from_secs(1);
    let ended = world.tick();
    let told: Vec<_> = ended
        .iter()
        .map(|Action::Send(node, message)| match message {
            FromServer::SessionEnded { session, reason, failed_node } => {
                assert!(reason.contains("ask again"), "{reason}");
                assert_eq!(*failed_node, None);
                (node.0[0], *session)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(1, idle), (9, idle)]);
    assert_eq!(world.view().sessions, 1);
}

/// Whether node 1 earns by computing for node 9.
fn earns(one: Option<&str>, nine: Option<&str>, same_address_earns: bool) -> bool {
    let mut world = World::new(6);
    world.scheduler.same_address_earns = same_address_earns;
    world.join_as(1, 0, one);
    world.lend(1, 100, GIB, None);
    world.plan_and_load();
    world.join_as(9, 0, nine);
    let actions = world.ask(9);
    let Action::Send(_, FromServer::Serve { ticket, .. }) = &actions[0] else {
        panic!("{actions:?}")
    };
    ticket.ticket.earns
}

#[test]
fn nobody_earns_by_computing_for_themselves() {
    let home = Some("203.0.113.7");
    assert!(!earns(home, home, false), "one public address");
    assert!(!earns(home, Some("::ffff:203.0.113.7"), false), "the same, written otherwise");
    assert!(earns(home, home, true), "a classroom's");
    assert!(earns(home, Some("203.0.113.8"), false));
    assert!(earns(home, None, false), "not known");
    for local in ["127.0.0.1", "192.168.1.2", "::1", "fd00::1"] {
        assert!(earns(Some(local), Some(local), false), "{local}");
    }
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.plan_and_load();
    world.scheduler.same_address_earns = true;
    let actions = world.ask(1);
    let Action::Send(_, FromServer::Serve { ticket, .. }) = &actions[0] else {
        panic!("{actions:?}")
    };
    assert!(!ticket.ticket.earns, "one key");
}

#[test]
fn a_session_that_earns_nothing_is_not_taken_for_idle_as_soon() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.plan_and_load();
    route(&world.ask(1)).unwrap();
    world.now += 2 * IDLE;
    world.tick();
    assert_eq!(world.view().sessions, 1);
    world.now += 12 * IDLE;
    world.tick();
    assert_eq!(world.view().sessions, 0);
}
