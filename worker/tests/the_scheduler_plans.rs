//! Who computes what is the scheduler's own plan here: it spreads a model, makes good for nodes
//! that leave, and follows what a node registers.

mod harness;

use harness::{Swarm, package};
use potluck_protocol::id::{LayerRange, NodeId};
use potluck_protocol::page::Command;
use potluck_server::models::Models;

const PROMPT: &str = "Tell me a story about a fox and a lantern.";
const TOKENS: u32 = 30;

/// What the answer is on one node.
fn whole_answer() -> Vec<u32> {
    let (mut swarm, ids) = Swarm::planned(9, 2, 1);
    swarm.ask(ids[1], PROMPT, 1, TOKENS);
    swarm.settle();
    swarm.tokens(ids[1])
}

/// Asks, and the stages that answered.
fn stages(swarm: &mut Swarm, requester: NodeId) -> Vec<(NodeId, LayerRange)> {
    swarm.notices.clear();
    swarm.ask(requester, PROMPT, 1, TOKENS);
    swarm.settle();
    assert_eq!(swarm.tokens(requester), whole_answer());
    swarm.session().stages.iter().map(|stage| (stage.node, stage.layers)).collect()
}

#[test]
fn every_volunteer_gets_its_part_and_a_gap_is_closed_by_those_who_stay() {
    for seed in 1..=3 {
        let (mut swarm, ids) = Swarm::planned(seed, 4, 3);
        let before = stages(&mut swarm, ids[3]);
        assert_eq!(before.len(), 3);
        assert!(before.iter().all(|(_, layers)| layers.len() == 2), "{before:?}");
        swarm.kill(ids[1]);
        swarm.settle();
        let after = stages(&mut swarm, ids[3]);
        assert_eq!(after.len(), 2);
        assert!(after.iter().all(|(node, layers)| *node != ids[1] && layers.len() == 3));
    }
}

/// A machine that falls back to less than it offered before registers that, and is given what it
/// can still do.
#[test]
fn a_node_that_registers_with_less_is_given_less() {
    let (mut swarm, ids) = Swarm::planned(1, 3, 2);
    assert!(stages(&mut swarm, ids[2]).iter().all(|(_, layers)| layers.len() == 3));
    let models = Models::open(package().path()).expect("the package was imported");
    let model = models.get(package().model).expect("it is the only one");
    let largest = model.layer_bytes.iter().max().copied().unwrap_or(0);
    let ends = model.embedding_bytes + model.head_bytes + model.tables_bytes;
    swarm.command(ids[0], Command::StopLending);
    swarm.lend(ids[0], ends + largest);
    swarm.settle();
    let after = stages(&mut swarm, ids[2]);
    let of = |id: NodeId| after.iter().find(|(node, _)| *node == id).map(|(_, l)| l.len());
    assert_eq!((of(ids[0]), of(ids[1])), (Some(1), Some(5)), "{after:?}");
}
