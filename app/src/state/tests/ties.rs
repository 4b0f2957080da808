//! Whom this tab is connected to.

use super::*;

#[test]
fn whom_this_tab_is_connected_to_is_known_while_its_worker_runs() {
    let ties = || vec![Tie { node: NodeId([2; 32]), is_relayed: true }];
    let mut state = lending_page();
    state.reduce(Action::Ties(ties()));
    assert_eq!(state.ties, ties());
    state.reduce(Action::Stop);
    assert_eq!(state.ties, []);
    state.reduce(Action::Ties(ties()));
    assert_eq!(state.ties, [], "it was under way when the worker was ended");
}
