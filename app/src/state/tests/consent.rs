//! Whatever the worker does, the page shows, and what the page does not show the worker does not do:
//! every phase, in every state of the person's wish, with every state of the link.

use potluck_protocol::page::PauseReason;

use super::*;

const REASON: &str = "the server answered 503";

/// Every phase that a worker can report; a new one does not compile until it is here.
fn phases() -> Vec<LendingPhase> {
    let next = |phase: &LendingPhase| match phase {
        LendingPhase::Idle => Some(LendingPhase::Starting),
        LendingPhase::Starting => Some(LendingPhase::Waiting),
        LendingPhase::Waiting => Some(LendingPhase::Fetching),
        LendingPhase::Fetching => Some(LendingPhase::Serving),
        LendingPhase::Serving => {
            Some(LendingPhase::Retrying { reason: REASON.to_owned(), retry_ms: 5_000 })
        }
        LendingPhase::Retrying { .. } => Some(LendingPhase::Paused { why: PauseReason::Battery }),
        LendingPhase::Paused { .. } => Some(LendingPhase::Failed { reason: REASON.to_owned() }),
        LendingPhase::Failed { .. } => None,
    };
    std::iter::successors(Some(LendingPhase::Idle), next).collect()
}

fn links() -> [Link; 3] {
    [Link::Connecting, Link::Open, Link::Lost { reason: "gone".to_owned(), retry_ms: 500 }]
}

/// True if something is computed or fetched for others in this phase, or will be without a click.
fn goes_on(phase: &LendingPhase) -> bool {
    !matches!(phase, LendingPhase::Idle | LendingPhase::Failed { .. })
}

fn is_told_to_stop(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Send(Command::StopLending)) || ended(effects)
}

#[test]
fn stop_is_there_in_every_phase_in_which_anything_goes_on_whatever_the_link() {
    for phase in phases() {
        for link in links() {
            let mut state = lending_page();
            let effects = state.reduce(lending(phase.clone()));
            state.reduce(Action::Notice(Notice::Link(link.clone())));
            let shown = (phase.clone(), link);
            if goes_on(&phase) {
                assert!(state.volunteer.is_lending(), "{shown:?}");
                assert_eq!(state.volunteer.lending.phase, phase);
                let effects = state.reduce(Action::Stop);
                assert!(ended(&effects), "{shown:?}: {effects:?}");
            } else if state.volunteer.is_lending() {
                assert_eq!(phase, LendingPhase::Idle, "the node has not begun yet");
            } else {
                assert!(is_told_to_stop(&effects), "{shown:?}: {effects:?}");
            }
        }
    }
}

#[test]
fn a_download_that_is_tried_again_still_lends_and_says_so() {
    let mut state = lending_page();
    let retrying = LendingPhase::Retrying { reason: REASON.to_owned(), retry_ms: 5_000 };
    assert_eq!(state.reduce(lending(retrying)), [], "the lock stays too");
    assert_eq!(
        (state.volunteer.phase_text(), state.volunteer.is_lending()),
        ("Trying again".to_owned(), true)
    );
    state.reduce(lending(LendingPhase::Serving));
    assert_eq!(
        (state.volunteer.phase_text(), state.volunteer.is_lending()),
        ("Serving".to_owned(), true)
    );
}

#[test]
fn a_worker_that_lends_behind_the_button_is_told_to_stop() {
    for phase in phases() {
        // It asks only: nobody has ever said yes.
        let mut state = page();
        type_and_ask(&mut state, "why?");
        let effects = state.reduce(lending(phase.clone()));
        assert!(!state.volunteer.is_lending());
        assert_eq!(is_told_to_stop(&effects), goes_on(&phase), "{phase:?}: {effects:?}");

        // It has failed, and has patience of its own.
        let mut state = lending_page();
        type_and_ask(&mut state, "why?");
        state.reduce(lending(LendingPhase::Failed { reason: REASON.to_owned() }));
        let effects = state.reduce(lending(phase.clone()));
        assert!(!state.volunteer.is_lending());
        assert_eq!(is_told_to_stop(&effects), goes_on(&phase), "{phase:?}: {effects:?}");
    }
}

#[test]
fn stop_stays_until_the_node_confirms_and_insisting_ends_everything() {
    for phase in phases() {
        let mut state = lending_page();
        type_and_ask(&mut state, "why?");
        assert!(is_told_to_stop(&state.reduce(Action::Stop)));
        state.reduce(lending(phase.clone()));
        assert_eq!(state.volunteer.is_lending(), goes_on(&phase), "{phase:?}");
        if goes_on(&phase) {
            assert!(ended(&state.reduce(Action::Stop)), "{phase:?}");
            assert!(!state.volunteer.is_lending() && !state.asking.is_open());
        }
    }
}

#[test]
fn stop_before_the_node_heard_of_it_leaves_the_question_alone() {
    let mut state = page();
    type_and_ask(&mut state, "why?");
    state.reduce(Action::Lend);
    assert_eq!(state.reduce(Action::Stop), []);
    assert!(!state.volunteer.is_lending() && state.asking.is_open());
    assert_eq!(state.reduce(Action::LockAnswered { granted: true }), [Effect::ReleaseLock]);
}

#[test]
fn a_worker_that_dies_in_any_phase_is_ended_and_the_page_says_so() {
    for phase in phases() {
        let mut state = lending_page();
        state.reduce(lending(phase.clone()));
        let effects = state.reduce(Action::WorkerFailed { reason: "unreachable".to_owned() });
        assert!(ended(&effects), "{phase:?}");
        assert!(!state.volunteer.is_lending() && !state.worker_runs);
        let text = state.problem.unwrap().text;
        assert!(text.contains("unreachable. Nothing is lent any more"), "{text}");
    }
}
