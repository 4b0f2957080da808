//! Nothing is assigned, leased or routed beyond what volunteers agreed to.

use potluck_protocol::grant::{DAY_S, Grant, GrantFault, GrantedModels};

use super::*;

const SPEED: u64 = 1_000_000;

impl World {
    fn unix_s(&self) -> u64 {
        self.scheduler.authority.unix_time(self.now).as_secs()
    }

    /// Lends under a grant that is changed like this.
    fn lend_under(&mut self, node: u8, change: impl FnOnce(&mut Grant)) -> Vec<Action> {
        let (kind, backend, memory_bytes) = (NodeKind::Native, "avx2".to_owned(), GIB);
        let capabilities = Capabilities { kind, backend, memory_bytes, macs_per_ms: SPEED };
        let terms = Terms { limits: Limits::native(), ..Terms::default() };
        let mut grant = terms.grant(id(node), "http://test".to_owned(), self.unix_s());
        change(&mut grant);
        let grant = Box::new(SignedGrant::new(&Identity::from_seed(&[node; 32]), grant));
        self.send(node, ToServer::Register { capabilities, grant, lease: None })
    }

    /// Lets time pass, and does what is due by then.
    fn wait(&mut self, seconds: u64) -> Vec<Action> {
        self.now += Duration::from_secs(seconds);
        self.tick()
    }
}

fn waits(actions: &[Action]) -> bool {
    actions.iter().any(|it| matches!(it, Action::Send(_, FromServer::Waiting { .. })))
}

fn refusals(actions: &[Action]) -> Vec<(NodeId, String)> {
    let refusal = |action: &Action| match action {
        Action::Send(node, FromServer::LendingRefused { reason }) => Some((*node, reason.clone())),
        Action::Send(..) => None,
    };
    actions.iter().filter_map(refusal).collect()
}

#[test]
fn a_grant_that_is_over_is_refused_and_nothing_changes() {
    let mut world = World::new(4);
    world.join(1);
    let actions = world.lend_under(1, |it| it.until_s = it.given_s);
    assert_eq!(refusals(&actions), [(id(1), GrantFault::Ended.to_string())]);
    world.wait(60);
    assert!(world.leases.is_empty());
}

#[test]
fn no_lease_is_longer_than_the_grant_and_at_its_end_nobody_is_sent_there() {
    let mut world = World::new(4);
    world.join(1);
    let until_s = world.unix_s() + 3600;
    world.lend_under(1, |it| it.until_s = until_s);
    world.wait(1);
    assert_eq!(world.leases[&id(1)].lease.until_s, until_s);
    world.ready(1, 0, 4);
    // It is past the half of a lease's life from the beginning, and is not renewed in vain.
    let mut said = world.wait(3590);
    assert!(!said.iter().any(|it| matches!(it, Action::Send(_, FromServer::Assign { .. }))));
    assert_eq!(refusals(&said), []);
    world.join(9);
    assert!(route(&world.ask(9)).is_some(), "to the last");
    said = world.wait(20);
    assert_eq!(refusals(&said), [(id(1), GrantFault::Ended.to_string())]);
    let ended = said.iter().any(|action| match action {
        Action::Send(to, FromServer::SessionEnded { failed_node, reason, .. }) => {
            *to == id(9) && *failed_node == Some(id(1)) && reason.contains("a time that is over")
        }
        Action::Send(..) => false,
    });
    assert!(ended, "{said:?}");
    assert!(waits(&world.ask(9)), "there is no route any more");
}

#[test]
fn another_grant_takes_the_place_of_the_one_before() {
    let mut world = World::new(4);
    world.join(1);
    let (short, long) = (world.unix_s() + 600, world.unix_s() + 6000);
    world.lend_under(1, |it| it.until_s = short);
    world.wait(1);
    world.lend_under(1, |it| it.until_s = long);
    world.wait(1);
    assert_eq!(world.leases[&id(1)].lease.until_s, long);
    let said = world.wait(1200);
    assert_eq!(refusals(&said), [], "the first one is nobody's any more");
    // And a shorter one shortens what was leased.
    let shorter = world.unix_s() + 60;
    world.lend_under(1, |it| it.until_s = shorter);
    world.wait(1);
    assert_eq!(world.leases[&id(1)].lease.until_s, shorter);
    assert_eq!(refusals(&world.wait(120)).len(), 1);
}

#[test]
fn who_stops_before_is_not_told_of_an_end() {
    let mut world = World::new(4);
    world.join(1);
    world.lend_under(1, |it| it.until_s = it.given_s + 600);
    world.send(1, ToServer::Deregister);
    assert_eq!(refusals(&world.wait(DAY_S)), []);
}

#[test]
fn a_model_that_is_not_granted_is_not_assigned() {
    let mut world = World::new(4);
    let model = world.model;
    world.join(1);
    world.join(2);
    world.lend_under(1, |it| it.models = GrantedModels::These(vec![ModelId([7; 32])]));
    world.lend_under(2, |it| it.models = GrantedModels::These(vec![model]));
    world.wait(1);
    assert_eq!(world.leases.keys().collect::<Vec<_>>(), [&id(2)]);
    assert_eq!(world.leases[&id(2)].lease.layers, range(0, 4));
    // Who takes a model back is routed to no more, at once, and holds nothing after the next plan.
    world.ready(2, 0, 4);
    world.lend_under(2, |it| it.models = GrantedModels::These(vec![ModelId([7; 32])]));
    world.join(9);
    assert!(waits(&world.ask(9)));
    let said = world.wait(1);
    let taken =
        |action: &Action| *action == Action::Send(id(2), FromServer::Assign { model, lease: None });
    assert!(said.iter().any(taken), "{said:?}");
}
