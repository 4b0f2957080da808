//! The widget of a site lends what it asked for, where it asked, and nothing that anybody chose
//! elsewhere.

use potluck_protocol::grant::{Limits, Place, Terms};
use potluck_protocol::id::SiteKey;
use potluck_protocol::page::Command;

use super::*;

const SITE: SiteKey = SiteKey([7; 16]);

fn terms(opened: Opened) -> Terms {
    let options = Options { memory_mib: 4096, ..Options::default() };
    let mut state = State::new(opened, &options, None);
    state.reduce(Action::Lend);
    let effects = state.reduce(Action::LockAnswered { granted: true });
    let terms = effects.into_iter().find_map(|effect| match effect {
        Effect::Send(Command::Lend { terms, .. }) => Some(terms),
        _ => None,
    });
    terms.unwrap()
}

#[test]
fn a_widget_lends_what_it_asked_for_at_its_site() {
    let place = Place::Widget { site: SITE };
    let widget = Opened { site: Some(SITE), ..opened() };
    assert_eq!(terms(widget.clone()), Terms { place, ..Terms::default() });
    let limits = Limits { on_phone: true, ..Limits::default() };
    let phone = Opened { chose_phone: true, ..widget };
    assert_eq!(terms(phone), Terms { place, limits, ..Terms::default() });
    assert_eq!(terms(opened()).place, Place::Page);
}

#[test]
fn a_widget_that_was_stopped_lends_at_its_site_again() {
    let widget = Opened { site: Some(SITE), ..opened() };
    let mut state = State::new(widget, &Options::default(), None);
    for _ in 0..2 {
        state.reduce(Action::Lend);
        state.reduce(Action::LockAnswered { granted: true });
        assert_eq!(state.volunteer.terms().place, Place::Widget { site: SITE });
        assert!(state.reduce(Action::Stop).contains(&Effect::EndWorker));
    }
}

#[test]
fn a_widget_does_not_ask_for_a_plot_that_it_does_not_show() {
    let node = NodeId([3; 32]);
    let asked = |opened: Opened| {
        let mut state = State::new(opened, &Options::default(), None);
        state.reduce(Action::Lend);
        state.reduce(Action::LockAnswered { granted: true });
        let mut effects = state.reduce(Action::Notice(Notice::Identity { node }));
        let lending =
            Lending { phase: LendingPhase::Serving, receipts: 1000, ..Lending::default() };
        effects.extend(state.reduce(Action::Notice(Notice::Lending(lending))));
        effects.into_iter().filter(|it| *it == Effect::FetchContribution(node)).count()
    };
    assert_eq!(asked(Opened { site: Some(SITE), ..opened() }), 0);
    assert_eq!(asked(opened()), 2, "the page does");
}

#[test]
fn the_plot_follows_the_first_receipts_at_once_and_many_in_steps() {
    let node = NodeId([3; 32]);
    let mut state = lending_page();
    state.reduce(Action::Notice(Notice::Identity { node }));
    let mut after = |receipts| {
        let phase = LendingPhase::Serving;
        let lending = Lending { phase, receipts, ..Lending::default() };
        state.reduce(Action::Notice(Notice::Lending(lending))) == [Effect::FetchContribution(node)]
    };
    let looked: Vec<u32> = (0..=48).filter(|receipts| after(*receipts)).collect();
    assert_eq!(looked, (1..=16).chain([32, 48]).collect::<Vec<u32>>());
}
