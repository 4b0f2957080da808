//! The server has another page than the one that is open.

use super::*;

fn build(id: &str) -> Action {
    Action::Build(id.to_owned())
}

#[test]
fn a_newer_page_is_said_and_nothing_is_stopped_for_it() {
    let mut state = lending_page();
    state.reduce(lending(LendingPhase::Serving));
    assert_eq!(state.reduce(build(BUILD)), []);
    assert!(!state.is_old);
    assert_eq!(state.reduce(build("fedcba9876543210")), []);
    assert!(state.is_old && state.volunteer.is_lending() && state.worker_runs);
    assert_eq!(state.reduce(Action::Reload), [Effect::Reload]);
    state.reduce(build(BUILD));
    assert!(!state.is_old, "the host has put the old one back");
}

#[test]
fn a_page_whose_builder_says_nothing_is_never_old() {
    let opened = Opened { build: None, ..opened() };
    let mut state = State::new(opened, &Options::default(), None);
    state.reduce(build("fedcba9876543210"));
    assert!(!state.is_old);
}

#[test]
fn a_worker_whose_file_is_gone_means_that_the_page_is_old() {
    let mut state = lending_page();
    let effects = state.reduce(Action::WorkerFailed { reason: "not loaded".to_owned() });
    assert!(ended(&effects));
    assert!(!state.problem.as_ref().unwrap().wants_reload);
    state.reduce(Action::WorkerMissing);
    let problem = state.problem.as_ref().unwrap();
    assert!(problem.wants_reload && problem.text.contains("This page is old"), "{problem:?}");
    assert!(state.is_old && !state.worker_runs && !state.volunteer.is_lending());
}

#[test]
fn a_final_refusal_offers_to_reload_and_says_why() {
    let mut state = lending_page();
    let reason = "this server speaks protocol 7, this page 6.".to_owned();
    let effects = state.reduce(Action::Notice(Notice::Link(Link::Refused { reason })));
    assert!(ended(&effects));
    let problem = state.problem.as_ref().unwrap();
    assert!(problem.wants_reload && problem.text.contains("protocol 7, this page 6. Nothing is"));
}
