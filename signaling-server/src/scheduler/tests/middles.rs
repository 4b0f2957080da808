//! Routes through the middle of a model, for requesters that compute its ends themselves.

use super::*;

fn ask(world: &mut World, node: u8, request: u32, first: u32, end: u32) -> Vec<Action> {
    let (request, model, layers) = (RequestId(request), world.model, range(first, end));
    world.send(
        node,
        ToServer::AskMiddle { request, model, exclude: Vec::new(), layers, continues: None },
    )
}

fn layers(session: &Session) -> Vec<(u8, LayerRange)> {
    session.stages.iter().map(|stage| (stage.node.0[0], stage.layers)).collect()
}

#[test]
fn whoever_holds_more_computes_what_is_asked_for() {
    let mut world = World::new(6);
    world.join(9);
    world.register(1, 100, GIB);
    world.plan_and_load();
    assert_eq!(layers(&route(&ask(&mut world, 9, 1, 1, 5)).unwrap()), [(1, range(1, 5))]);
    assert_eq!(layers(&route(&ask(&mut world, 9, 2, 2, 4)).unwrap()), [(1, range(2, 4))]);
    // Its receipts are held against what it computes there, not against what it holds.
    let actions = ask(&mut world, 9, 3, 1, 5);
    let ticket = actions.iter().find_map(|Action::Send(_, message)| match message {
        FromServer::Serve { ticket, .. } => Some(ticket.ticket.layers),
        _ => None,
    });
    assert_eq!(ticket, Some(range(1, 5)));
}

#[test]
fn of_those_who_reach_the_end_of_the_middle_none_is_better_for_reaching_farther() {
    let mut world = World::new(6);
    world.join(9);
    for node in 1..=2 {
        world.register(node, 100, GIB);
    }
    world.plan_and_load();
    // One of them holds the end as well; work goes to whoever has less of it.
    let (one, other) = (world.layers_of(1).unwrap(), world.layers_of(2).unwrap());
    assert_eq!((one, other), (range(0, 3), range(3, 6)));
    let session = route(&ask(&mut world, 9, 1, 2, 4)).unwrap();
    assert_eq!(layers(&session), [(1, range(2, 3)), (2, range(3, 4))]);
}

#[test]
fn a_missing_end_is_nobodys_trouble_and_a_missing_middle_is_said() {
    let mut world = World::new(6);
    world.join(9);
    for node in 1..=3 {
        world.register(node, 100, GIB);
    }
    world.now += PLAN_DELAY;
    world.tick();
    let held = |world: &World, node| world.layers_of(node).unwrap();
    // The holder of the beginning never gets ready.
    let others: Vec<u8> = (1..=3).filter(|node| held(&world, *node).first > 0).collect();
    let [second, third] = others[..] else { panic!("{others:?}") };
    let first_end = held(&world, second).first;
    assert_eq!(first_end, 2);
    let waiting = |request, missing| {
        Action::Send(id(9), FromServer::Waiting { request: RequestId(request), missing })
    };
    assert_eq!(ask(&mut world, 9, 1, 2, 4), [waiting(1, vec![range(2, 4)])]);
    world.send(
        9,
        ToServer::Ask {
            request: RequestId(2),
            model: world.model,
            exclude: vec![],
            continues: None,
        },
    );
    let LayerRange { first, end } = held(&world, second);
    let actions = world.ready(second, first, end);
    let session = route(&actions).expect("the middle is there");
    assert_eq!(layers(&session), [(second, range(2, 4))]);
    // Whoever wants all of it goes on waiting.
    assert!(actions.contains(&waiting(2, vec![range(0, 2), range(4, 6)])), "{actions:?}");
    let LayerRange { first, end } = held(&world, third);
    assert_eq!(route(&world.ready(third, first, end)), None);
}

#[test]
fn only_middles_are_routed_and_there_are_few_of_them() {
    let mut world = World::new(6);
    world.join(9);
    world.register(1, 100, GIB);
    world.plan_and_load();
    for (first, end) in [(0, 6), (1, 6), (0, 5), (1, 4), (3, 4), (2, 200)] {
        let actions = ask(&mut world, 9, 1, first, end);
        let [Action::Send(_, FromServer::RequestRefused { reason, .. })] = &actions[..] else {
            panic!("{actions:?}")
        };
        assert!(reason.contains("6 layers"), "{reason}");
    }
    assert!(route(&ask(&mut world, 9, 1, 1, 5)).is_some(), "the connection goes on");
}
