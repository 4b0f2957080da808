//! The server is told which peers are reached through a relay: when that changes, and no more of them than
//! it reads.

use super::*;

const REQUESTER: NodeId = NodeId([8; 32]);

fn told(driven: &mut Driven) -> Vec<Vec<NodeId>> {
    let named = |message| match message {
        ToServer::Relayed { peers } => Some(peers),
        _ => None,
    };
    driven.sent().into_iter().filter_map(named).collect()
}

#[test]
fn a_relayed_path_is_told_once_and_taken_back_when_it_is_gone() {
    let mut driven = Driven::serving(&synthetic());
    let me = driven.node.id();
    driven.serve(session(me, REQUESTER));
    driven.handle(Input::Transport(net::Event::PeerOpen { peer: REQUESTER }));
    driven.pass(Duration::from_secs(30));
    assert_eq!(told(&mut driven), [[]; 0], "a direct path is nothing to tell");
    for peer in [REQUESTER, NodeId([9; 32])] {
        driven.handle(Input::Transport(net::Event::PeerRelayed { peer }));
    }
    driven.pass(Duration::from_secs(30));
    assert_eq!(told(&mut driven), [[REQUESTER]], "once, and of nobody whom it does not know");

    driven.reconnect();
    driven.pass(Duration::from_secs(30));
    assert_eq!(told(&mut driven), [[REQUESTER]], "to the server of now");
    let reason = "gone".to_owned();
    driven.handle(Input::Transport(net::Event::PeerClosed { peer: REQUESTER, reason }));
    driven.pass(Duration::from_secs(30));
    assert_eq!(told(&mut driven), [[]; 1]);
}
