//! Whatever happens: what is kept is what one would find by looking at everything.

use proptest::prelude::*;

use super::*;
use crate::scheduler::index::{Entry, Index};

#[derive(Clone, Debug)]
enum Step {
    Join(u8, u64),
    Register(u8, u64, u64),
    Leave(u8),
    Deregister(u8),
    Ready(u8, u32, u32),
    Report(u8, u64),
    Pace(u8, u8),
    Ask(u8, u32, u8),
    Cancel(u8, u32),
    /// Of the open sessions, the one at this place ends, at the node in that place.
    End(usize, usize, bool),
    Worked(usize, usize, u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0_u8..10;
    prop_oneof![
        1 => (node.clone(), 0_u64..200_000_000_000).prop_map(|(node, credit)| Step::Join(node, credit)),
        4 => (node.clone(), 0_u64..20_000_000, 0_u64..20)
            .prop_map(|(node, speed, mib)| Step::Register(node, speed, mib << 20)),
        1 => node.clone().prop_map(Step::Leave),
        1 => node.clone().prop_map(Step::Deregister),
        4 => (node.clone(), 0_u32..8, 1_u32..8).prop_map(|(node, first, len)| Step::Ready(node, first, len)),
        1 => (node.clone(), any::<u64>()).prop_map(|(node, rows)| Step::Report(node, rows)),
        3 => (node.clone(), 0_u8..3).prop_map(|(node, third)| Step::Pace(node, 50 * third)),
        6 => (node.clone(), 0_u32..3, node.clone()).prop_map(|(node, id, without)| Step::Ask(node, id, without)),
        1 => (node, 0_u32..3).prop_map(|(node, id)| Step::Cancel(node, id)),
        3 => (any::<usize>(), any::<usize>(), any::<bool>()).prop_map(|(a, b, c)| Step::End(a, b, c)),
        2 => (any::<usize>(), any::<usize>(), 0_u64..50_000_000_000)
            .prop_map(|(session, stage, macs)| Step::Worked(session, stage, macs)),
        3 => (1_u64..120).prop_map(Step::Wait),
    ]
}

fn open_sessions(world: &World) -> Vec<Session> {
    world.scheduler.sessions.all().cloned().collect()
}

fn happen(world: &mut World, step: Step) {
    let joined = |world: &World, node| world.scheduler.nodes.contains_key(&id(node));
    match step {
        Step::Join(node, credit) => world.join_as(node, credit, None),
        Step::Register(node, speed, memory) => {
            if !joined(world, node) {
                world.join(node);
            }
            let lease = world.leases.get(&id(node)).cloned();
            world.lend(node, speed, memory, lease);
        }
        Step::Leave(node) => _ = world.handle(node, Event::Left),
        Step::Deregister(node) => _ = world.send(node, ToServer::Deregister),
        Step::Pace(node, percent) => _ = world.send(node, ToServer::Pace { percent }),
        Step::Ready(node, first, len) => {
            let layers = range(first, first + len);
            let message = ToServer::LayersReady { model: world.model, layers };
            _ = world.scheduler.handle(id(node), Event::Received(message), world.now);
        }
        Step::Report(node, tokens) => {
            let report = potluck_protocol::server::Report { tokens, us_per_token_p50: 1 };
            world.send(node, ToServer::Report(report));
        }
        Step::Ask(node, request, without) if joined(world, node) => {
            let (request, model) = (RequestId(request), world.model);
            let exclude = vec![id(without)];
            world.send(
                node,
                ToServer::Ask { request, model, exclude: exclude.clone(), continues: None },
            );
            let (request, layers) =
                (RequestId(request.0 + 100), range(1, world.layers.saturating_sub(1)));
            world.send(
                node,
                ToServer::AskMiddle { request, model, exclude, layers, continues: None },
            );
        }
        Step::Ask(..) => {}
        Step::Cancel(node, request) => {
            world.send(node, ToServer::Cancel { request: RequestId(request) });
            world.send(node, ToServer::Cancel { request: RequestId(request + 100) });
        }
        Step::End(session, stage, by_requester) => {
            let sessions = open_sessions(world);
            if let Some(session) = sessions.get(session % sessions.len().max(1)) {
                let stage = session.stages[stage % session.stages.len()].node;
                let by = if by_requester { session.requester } else { stage };
                world.end(by.0[0], session.id, Some(stage));
            }
        }
        Step::Worked(session, stage, macs) => {
            let sessions = open_sessions(world);
            if let Some(session) = sessions.get(session % sessions.len().max(1)) {
                let stage = session.stages[stage % session.stages.len()].node;
                world.handle(stage.0[0], Event::Worked { session: session.id, macs });
            }
        }
        Step::Wait(seconds) => {
            world.now += Duration::from_secs(seconds);
            let actions = world.tick();
            world.load(actions);
        }
    }
}

/// Everything that is kept, counted anew.
fn check(world: &World) -> Result<(), TestCaseError> {
    let scheduler = &world.scheduler;
    let mut index = Index::new(world.layers);
    let sessions = open_sessions(world);
    for (node, state) in &scheduler.nodes {
        index.replace(None, Entry::of(*node, state));
        let of_node = sessions.iter().filter(|session| session.stage_of(*node).is_some());
        prop_assert_eq!(state.sessions as usize, of_node.clone().count());
        let mut ids: Vec<SessionId> = of_node.map(|session| session.id).collect();
        ids.sort_unstable();
        let kept = scheduler.sessions.with_stage(*node).into_iter().map(|(id, _)| id);
        prop_assert_eq!(kept.collect::<Vec<_>>(), ids);
        let asked = sessions.iter().filter(|session| session.requester == *node).count();
        prop_assert_eq!(scheduler.sessions.count_asked_by(*node), asked);
        prop_assert_eq!(scheduler.sessions.asked_by(*node).len(), asked);
        prop_assert!(state.registration.is_some() || state.sessions == 0);
    }
    prop_assert_eq!(&scheduler.index, &index);
    for a in 0..10 {
        for b in a + 1..10 {
            let talk = sessions.iter().any(|session| {
                let stages: Vec<u8> = session.stages.iter().map(|stage| stage.node.0[0]).collect();
                let neighbours = stages.windows(2).any(|two| two == [a, b] || two == [b, a]);
                let requester = session.requester.0[0];
                let has = |node: &u8| stages.contains(node);
                neighbours || (requester == a && has(&b)) || (requester == b && has(&a))
            });
            // Later than anything that ended lately counts.
            let late = world.now + Duration::from_secs(3600);
            prop_assert_eq!(scheduler.share_session(id(a), id(b), late), talk);
        }
    }
    // The totals, from the nodes as they are listed.
    let view = world.view();
    let count = |is: fn(&NodeView) -> bool| view.nodes.iter().filter(|node| is(node)).count();
    prop_assert_eq!(view.totals.nodes, view.nodes.len());
    prop_assert_eq!(view.totals.serving, count(|node| node.serving));
    prop_assert_eq!(view.totals.waiting, count(|node| node.layers.is_none() || node.paused));
    for (layer, copies) in (0..).zip(&view.copies) {
        let has = |node: &&NodeView| {
            node.serving && node.layers.is_some_and(|layers| layers.indices().contains(&layer))
        };
        prop_assert_eq!(*copies as usize, view.nodes.iter().filter(has).count());
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_kept_is_what_a_scan_finds(
        layers in 1_u32..9,
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let mut world = World::new(layers);
        for step in steps {
            happen(&mut world, step);
            check(&world)?;
        }
    }
}
