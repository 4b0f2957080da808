//! Requests that cannot be answered are refused one by one; everybody's connection stays.

use super::*;
use potluck_protocol::limits::MAX_SESSIONS_PER_REQUESTER;

fn ask_for(world: &mut World, request: u32, model: ModelId) -> Vec<Action> {
    world.send(
        9,
        ToServer::Ask { request: RequestId(request), model, exclude: Vec::new(), continues: None },
    )
}

/// The reason, if the only action is to refuse this request.
fn refusal(actions: &[Action], request: u32) -> Option<&str> {
    match actions {
        [Action::Send(node, FromServer::RequestRefused { request: refused, reason })]
            if *node == NodeId([9; 32]) && *refused == RequestId(request) =>
        {
            Some(reason)
        }
        _ => None,
    }
}

#[test]
fn waiting_requests_of_a_node_have_a_bound() {
    let mut world = World::new(6);
    world.join(9);
    let (model, bound) = (world.model, u32::try_from(MAX_SESSIONS_PER_REQUESTER).unwrap());
    for request in 0..bound {
        assert_eq!(refusal(&ask_for(&mut world, request, model), request), None);
    }
    let actions = ask_for(&mut world, bound, model);
    assert!(refusal(&actions, bound).is_some_and(|reason| reason.contains("cancel one first")));
    // The same request again takes no further room, and cancelling makes some.
    assert_eq!(refusal(&ask_for(&mut world, 0, model), 0), None);
    world.send(9, ToServer::Cancel { request: RequestId(1) });
    assert_eq!(refusal(&ask_for(&mut world, bound, model), bound), None);
}

#[test]
fn sessions_of_a_requester_have_a_bound() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    world.plan_and_load();
    world.join(8);
    world.join(9);
    let (model, bound) = (world.model, u32::try_from(MAX_SESSIONS_PER_REQUESTER).unwrap());
    let mut last = None;
    for request in 0..bound {
        last = route(&ask_for(&mut world, request, model));
        assert!(last.is_some(), "request {request}");
    }
    let actions = ask_for(&mut world, bound, model);
    assert!(refusal(&actions, bound).is_some_and(|reason| reason.contains("end or cancel one")));
    assert!(route(&world.ask(8)).is_some(), "another requester has its own bound");
    let end = ToServer::EndSession {
        session: last.unwrap().id,
        reason: "answered".to_owned(),
        failed_node: None,
        keeps: false,
    };
    world.send(9, end);
    assert!(route(&ask_for(&mut world, bound, model)).is_some());
}

#[test]
fn a_request_for_a_model_that_is_not_served_is_refused_at_once() {
    let (first, second) = (model(6), model(7));
    let mut models = Models::default();
    models.add(ModelInfo { name: "served-model".to_owned(), ..first.clone() });
    models.add(ModelInfo { name: "other-model".to_owned(), ..second.clone() });
    let mut world = World::new(6);
    world.scheduler = scheduler(models);
    world.register(1, 100, GIB);
    world.plan_and_load();
    world.join(9);

    let actions = ask_for(&mut world, 3, second.id);
    let reason = refusal(&actions, 3).unwrap();
    assert!(reason.contains("other-model") && reason.contains("it serves served-model"));
    let actions = ask_for(&mut world, 4, ModelId([0xee; 32]));
    assert!(refusal(&actions, 4).unwrap().contains("it serves served-model"));
    assert_eq!(world.view().waiting, 0);
    assert!(route(&ask_for(&mut world, 5, first.id)).is_some(), "the connection goes on");
}

#[test]
fn layers_that_cannot_be_are_a_fault_that_changes_nothing() {
    let mut world = World::new(6);
    world.register(1, 100, GIB);
    let before = world.view();
    let mut claim = |model, layers| {
        let message = ToServer::LayersReady { model, layers };
        world.scheduler.handle(NodeId([1; 32]), Event::Received(message), world.now)
    };
    assert_eq!(claim(ModelId([0xee; 32]), range(0, 1)), Err(Fault::UnknownModel));
    assert_eq!(claim(world.model, range(5, 7)), Err(Fault::NoSuchLayers(range(5, 7))));
    assert_eq!(world.view(), before);
}
