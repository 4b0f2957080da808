//! What a visitor does, step by step, and what the page must do about it.

use potluck_protocol::door::{DoorCommand, DoorNotice};
use potluck_protocol::grant::{Limits, SignedGrant, Terms};
use potluck_protocol::id::{LayerRange, NodeId, RequestId};
use potluck_protocol::identity::Identity;
use potluck_protocol::invitation::Invitation;
use potluck_protocol::page::{
    AnswerEnd, AnswerEvent, BackendPreference, Command, Granted, Lending, LendingPhase, Link,
    Notice, Own, OwnPart, StageView,
};
use potluck_protocol::room::RoomSecret;
use potluck_protocol::sampling::Sampling;

use super::asking::{MAX_EXCHANGES, Phase};
use super::lending::Intent;
use super::options::Options;
use super::*;

mod consent;
mod mine;
mod old_page;
mod ties;
mod widget;

const SERVER: &str = "http://127.0.0.1:8080";
const SAMPLING: Sampling = Sampling {
    temperature_milli: 700,
    top_k: 40,
    top_p_milli: 950,
    repetition_penalty_milli: 1000,
    seed: 7,
};

/// Of this build.
const BUILD: &str = "0123456789abcdef";

fn opened() -> Opened {
    let build = Some(BUILD.to_owned());
    Opened { server: SERVER.to_owned(), build, is_secure: true, ..Opened::default() }
}

fn page() -> State {
    State::new(opened(), &Options::default(), None)
}

fn connect() -> Effect {
    Effect::Send(Command::Connect { server: SERVER.to_owned(), room: None })
}

fn lending_page() -> State {
    let mut state = page();
    state.reduce(Action::Lend);
    state.reduce(Action::LockAnswered { granted: true });
    state
}

fn type_and_ask(state: &mut State, prompt: &str) -> Vec<Effect> {
    state.reduce(Action::TypePrompt(prompt.to_owned()));
    state.reduce(Action::Ask { random_seed: 7, asked_at_s: 60 })
}

fn lending(phase: LendingPhase) -> Action {
    Action::Notice(Notice::Lending(Lending { phase, ..Lending::default() }))
}

fn answer(request: RequestId, event: AnswerEvent) -> Action {
    Action::Notice(Notice::Answer { request, event })
}

fn done() -> AnswerEvent {
    AnswerEvent::Done { end: AnswerEnd::Stop, first_token_ms: 5, decode_ms: 10, tokens: 2 }
}

fn ended(effects: &[Effect]) -> bool {
    effects.contains(&Effect::EndWorker)
}

#[test]
fn an_answer_outlives_a_reload_and_goes_on_when_the_visitor_says_so() {
    let mut state = page();
    type_and_ask(&mut state, "hello");
    let token = |token, text: &str| AnswerEvent::Token { token, text: text.to_owned() };
    state.reduce(answer(RequestId(0), token(5, "one ")));
    let effects = state.reduce(answer(RequestId(0), token(6, "two")));
    let [Effect::Keep(Some(kept))] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((kept.text.as_str(), &kept.sampled[..]), ("one two", &[5, 6][..]));

    let mut state = State::new(opened(), &Options::default(), Some(kept.clone()));
    assert!(!state.worker_runs && state.asking.latest().unwrap().phase == Phase::Kept);
    assert_eq!(state.asking.latest().unwrap().text, "one two");
    let effects = state.reduce(Action::GoOn);
    let Some(Effect::Send(Command::Ask(ask))) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(
        (ask.conversation.messages[0].content.as_str(), ask.sampling.seed, &ask.sampled[..]),
        ("hello", 7, &[5, 6][..])
    );
    assert!(effects.contains(&Effect::StartWorker) && state.reduce(Action::GoOn).is_empty());
    // The node tells it all again, and more.
    let request = ask.request;
    for (number, text) in [(5, "one "), (6, "two"), (7, " three")] {
        state.reduce(answer(request, token(number, text)));
    }
    let latest = state.asking.latest().unwrap();
    assert_eq!((latest.text.as_str(), latest.tokens), ("one two three", 3));
    let effects = state.reduce(answer(request, done()));
    assert!(effects.contains(&Effect::Keep(None)), "nothing stays once it is whole: {effects:?}");
}

#[test]
fn a_page_just_opened_starts_nothing_whatever_its_address_says() {
    let options = Options::from_query("?backend=gpu&memory_mib=64&seed=3");
    let state = State::new(opened(), &options, None);
    assert!(!state.worker_runs && state.link.is_none() && !state.volunteer.is_lending());
    assert_eq!(state.volunteer.backend, BackendPreference::Gpu);
    assert_eq!(state.volunteer.limits.memory_bytes, 64 << 20);
    assert_eq!(state.asking.seed, "3");
}

#[test]
fn lending_takes_the_lock_before_it_starts_anything() {
    let mut state = page();
    state.reduce(Action::ChooseBackend(BackendPreference::Cpu));
    let limits = Limits { memory_bytes: 256 << 20, ..Limits::default() };
    assert_eq!(state.reduce(Action::ChooseLimits(limits.clone())), [], "nothing is lent yet");
    assert_eq!(state.reduce(Action::Lend), [Effect::TakeLock]);
    assert_eq!(state.reduce(Action::Lend), [], "a second click changes nothing");
    assert!(!state.worker_runs);
    let terms = Terms { limits, ..Terms::default() };
    let lend = Command::Lend { backend: BackendPreference::Cpu, terms };
    assert_eq!(
        state.reduce(Action::LockAnswered { granted: true }),
        [Effect::StartWorker, connect(), Effect::Send(lend)]
    );
    assert_eq!(state.volunteer.phase_text(), "Starting");
}

#[test]
fn what_is_lent_is_changed_and_paused_only_where_something_is() {
    let limits = Limits { gpu_percent: 80, minutes: None, ..Limits::default() };
    let all = [Action::Pause, Action::Resume, Action::Extend];
    let mut state = page();
    assert!(all.iter().all(|action| state.reduce(action.clone()).is_empty()));
    let mut state = lending_page();
    let sent: Vec<Effect> = all.into_iter().flat_map(|action| state.reduce(action)).collect();
    assert_eq!(sent, [Command::Pause, Command::Resume, Command::Extend].map(Effect::Send));
    let wanted = Effect::Send(Command::SetLimits(limits.clone()));
    assert_eq!(state.reduce(Action::ChooseLimits(limits.clone())), [wanted]);
    assert_eq!(state.reduce(Action::ChooseLimits(limits.clone())), [], "nothing has changed");
    let nothing = Limits { gpu_percent: 0, ..limits.clone() };
    assert_eq!(state.reduce(Action::ChooseLimits(nothing)), [], "nothing could be computed");
    assert_eq!(state.volunteer.limits, limits);
    state.reduce(Action::Stop);
    assert_eq!(state.volunteer.limits, limits, "they stay for the next time");
}

#[test]
fn what_was_agreed_to_is_shown_as_long_as_it_holds_and_kept_for_the_next_visit() {
    let mut state = lending_page();
    let node = Identity::from_seed(&[1; 32]);
    let terms = Terms::default();
    let grant = terms.clone().grant(node.node(), SERVER.to_owned(), 1_790_000_000);
    let granted = Box::new(Granted::new(SignedGrant::new(&node, grant)));
    let effects = state.reduce(Action::Notice(Notice::Grant(Some(granted.clone()))));
    assert_eq!(effects, [Effect::KeepLimits(terms.limits)]);
    assert_eq!(state.volunteer.grant, Some(granted.clone()));
    let name = granted.file_name();
    assert!(name.starts_with("potluck-consent-") && name.ends_with(".json"), "{name}");
    assert!(granted.record.contains("ISO/IEC TS 27560"), "{}", granted.record);
    assert_eq!(state.reduce(Action::Notice(Notice::Grant(None))), []);
    assert_eq!(state.volunteer.grant, None);
    state.reduce(Action::Notice(Notice::Grant(Some(granted))));
    state.reduce(Action::Stop);
    assert_eq!(state.volunteer.grant, None, "Stop takes it back");
}

#[test]
fn a_second_tab_is_told_and_starts_nothing() {
    let mut state = page();
    state.reduce(Action::Lend);
    assert_eq!(state.reduce(Action::LockAnswered { granted: false }), []);
    assert!(!state.worker_runs && !state.volunteer.is_lending());
    assert_eq!(state.problem, Some(Problem::new(&say!("other-tab"))));
}

#[test]
fn stop_while_the_browser_thinks_about_the_lock_gives_it_back() {
    let mut state = page();
    state.reduce(Action::Lend);
    state.reduce(Action::Stop);
    assert_eq!(state.reduce(Action::LockAnswered { granted: true }), [Effect::ReleaseLock]);
    assert!(!state.worker_runs);
}

#[test]
fn stop_ends_the_worker_and_the_next_click_starts_anew() {
    let mut state = lending_page();
    state.reduce(lending(LendingPhase::Serving));
    assert_eq!(state.volunteer.phase_text(), "Serving");
    assert_eq!(state.reduce(Action::Stop), [Effect::EndWorker, Effect::ReleaseLock]);
    assert_eq!(state.volunteer.phase_text(), "Not lending");
    state.reduce(lending(LendingPhase::Serving));
    assert_eq!(
        state.volunteer.phase_text(),
        "Not lending",
        "words of an ended worker count no more"
    );
    state.reduce(Action::Lend);
    assert!(state.reduce(Action::LockAnswered { granted: true }).contains(&Effect::StartWorker));
}

#[test]
fn stop_during_an_answer_lets_the_answer_end_and_then_ends_the_worker() {
    let mut state = lending_page();
    type_and_ask(&mut state, "why?");
    assert_eq!(
        state.reduce(Action::Stop),
        [Effect::Send(Command::StopLending), Effect::ReleaseLock]
    );
    assert_eq!(state.volunteer.phase_text(), "Stopping");
    assert!(state.volunteer.is_lending());
    assert_eq!(state.reduce(lending(LendingPhase::Serving)), [], "it has not heard of it yet");
    assert_eq!(state.reduce(lending(LendingPhase::Idle)), []);
    assert!(!state.volunteer.is_lending());
    assert!(!ended(&state.reduce(answer(
        RequestId(0),
        AnswerEvent::Token { token: 1, text: "Because".to_owned() }
    ))));
    assert!(ended(&state.reduce(answer(RequestId(0), done()))));
    assert_eq!(state.asking.latest().unwrap().text, "Because");
}

#[test]
fn lending_again_during_that_answer_keeps_the_worker() {
    let mut state = lending_page();
    type_and_ask(&mut state, "why?");
    state.reduce(Action::Stop);
    state.reduce(lending(LendingPhase::Idle));
    state.reduce(Action::Lend);
    let effects = state.reduce(Action::LockAnswered { granted: true });
    assert!(
        !effects.contains(&Effect::StartWorker)
            && matches!(effects[..], [Effect::Send(Command::Lend { .. })])
    );
    assert!(!ended(&state.reduce(answer(RequestId(0), done()))));
}

#[test]
fn asking_starts_a_worker_once_and_lends_nothing() {
    let mut state = page();
    let effects = type_and_ask(&mut state, "  why?  ");
    assert_eq!(effects[..2], [Effect::StartWorker, connect()]);
    let Effect::Send(Command::Ask(ask)) = &effects[2] else { panic!("{effects:?}") };
    assert_eq!(
        (
            ask.conversation.messages[0].content.as_str(),
            ask.sampling.seed,
            ask.sampling.temperature_milli
        ),
        ("why?", 7, None)
    );
    assert!(!state.volunteer.is_lending());
    assert_eq!(state.asking.prompt, "", "the form is ready for the next question");
    assert_eq!(type_and_ask(&mut state, "and?"), [], "one question at a time");
    assert!(
        !ended(&state.reduce(answer(RequestId(0), done()))),
        "the link stays for the next question"
    );
    assert!(matches!(type_and_ask(&mut state, "and?")[..], [Effect::Send(Command::Ask(_))]));
}

#[test]
fn what_is_computed_here_is_asked_for_within_what_is_lent_and_stays_chosen_over_a_reload() {
    let mut state = page();
    state.reduce(Action::ChoosePart(Some(OwnPart::Ends { layers: 1 })));
    let effects = type_and_ask(&mut state, "why?");
    let own = |effects: &[Effect]| match effects.last() {
        Some(Effect::Send(Command::Ask(ask))) => ask.own,
        _ => panic!("{effects:?}"),
    };
    let (backend, memory_bytes) = (state.volunteer.backend, state.volunteer.limits.memory_bytes);
    let expected = Some(Own { part: OwnPart::Ends { layers: 1 }, backend, memory_bytes });
    assert_eq!(own(&effects), expected);
    let layers = vec![LayerRange { first: 0, end: 1 }];
    let event = AnswerEvent::Own { layers, bytes: 9, loaded_bytes: 4 };
    state.reduce(answer(RequestId(0), event));
    let phase = &state.asking.latest().unwrap().phase;
    assert_eq!(*phase, Phase::Fetching { bytes: 9, loaded_bytes: 4 });
    assert!(state.asking.is_open() && !state.volunteer.is_lending());
    let token = AnswerEvent::Token { token: 5, text: "one".to_owned() };
    let effects = state.reduce(answer(RequestId(0), token));
    let [Effect::Keep(Some(kept))] = &effects[..] else { panic!("{effects:?}") };
    let mut state = State::new(opened(), &Options::default(), Some(kept.clone()));
    assert_eq!(own(&state.reduce(Action::GoOn)), expected, "words that were kept here stay here");
}

#[test]
fn an_answer_is_put_together_from_its_events() {
    let mut state = page();
    type_and_ask(&mut state, "why?");
    let missing = vec![LayerRange { first: 2, end: 4 }];
    state.reduce(answer(
        RequestId(0),
        AnswerEvent::Waiting { model: "m".to_owned(), missing: missing.clone() },
    ));
    assert_eq!(
        state.asking.latest().unwrap().phase,
        Phase::Waiting { model: "m".to_owned(), missing }
    );
    let stages = vec![StageView { node: NodeId([1; 32]), layers: LayerRange { first: 0, end: 6 } }];
    let route = AnswerEvent::Route {
        session: "s".to_owned(),
        stages,
        sampling: SAMPLING,
        prompt_tokens: 9,
        kept_tokens: 0,
    };
    state.reduce(answer(RequestId(0), route));
    for text in ["Be", "", "cause"] {
        state.reduce(answer(RequestId(0), AnswerEvent::Token { token: 1, text: text.to_owned() }));
    }
    state
        .reduce(answer(RequestId(9), AnswerEvent::Token { token: 1, text: "not ours".to_owned() }));
    let exchange = state.asking.latest().unwrap();
    assert_eq!((exchange.text.as_str(), exchange.tokens, exchange.stages.len()), ("Because", 3, 1));
    state.reduce(answer(RequestId(0), done()));
    state
        .reduce(answer(RequestId(0), AnswerEvent::Token { token: 1, text: "too late".to_owned() }));
    assert_eq!(state.asking.latest().unwrap().text, "Because");
}

#[test]
fn cancel_is_told_to_the_worker_only_while_an_answer_may_come() {
    let mut state = page();
    assert_eq!(state.reduce(Action::Cancel), []);
    type_and_ask(&mut state, "why?");
    assert_eq!(
        state.reduce(Action::Cancel),
        [Effect::Send(Command::Cancel { request: RequestId(0) })]
    );
    state.reduce(answer(RequestId(0), done()));
    assert_eq!(state.reduce(Action::Cancel), []);
}

#[test]
fn what_cannot_be_asked_is_said_and_not_asked() {
    let mut state = page();
    assert_eq!(type_and_ask(&mut state, "   "), []);
    state.reduce(Action::TypeSeed("x".to_owned()));
    assert_eq!(type_and_ask(&mut state, "why?"), []);
    assert!(state.asking.input_problem.as_ref().unwrap().contains("seed"));
    assert_eq!(state.asking.prompt, "why?", "the question is not lost");
    state.reduce(Action::TypeSeed("12".to_owned()));
    state.reduce(Action::TypeTemperature("0,5".to_owned()));
    let effects = state.reduce(Action::Ask { random_seed: 7, asked_at_s: 60 });
    let Some(Effect::Send(Command::Ask(ask))) = effects.last() else { panic!("{effects:?}") };
    assert_eq!((ask.sampling.seed, ask.sampling.temperature_milli), (12, Some(500)));
    assert_eq!(state.asking.input_problem, None);
}

#[test]
fn a_broken_worker_is_told_and_can_be_started_again() {
    let mut state = lending_page();
    type_and_ask(&mut state, "why?");
    let effects = state.reduce(Action::WorkerFailed { reason: "out of memory.".to_owned() });
    assert_eq!(effects, [Effect::EndWorker, Effect::ReleaseLock]);
    assert!(!state.asking.is_open() && !state.volunteer.is_lending() && !state.worker_runs);
    assert!(
        state
            .problem
            .as_ref()
            .unwrap()
            .text
            .contains("out of memory. Nothing is lent any more; credit")
    );
    assert_eq!(state.reduce(Action::Lend), [Effect::TakeLock]);
    assert_eq!(state.problem, None);
}

#[test]
fn a_refused_link_ends_everything_with_the_servers_reason() {
    let mut state = lending_page();
    let refused = Notice::Link(Link::Refused { reason: "connected elsewhere".to_owned() });
    assert!(ended(&state.reduce(Action::Notice(refused))));
    assert!(state.problem.as_ref().unwrap().text.contains("connected elsewhere"));
    assert_eq!((state.volunteer.intent, state.link), (Intent::No, None));
}

#[test]
fn lending_that_fails_keeps_its_reason_and_gives_the_button_back() {
    let mut state = lending_page();
    let failed = LendingPhase::Failed { reason: "no memory".to_owned() };
    assert_eq!(
        state.reduce(lending(failed.clone())),
        [Effect::Send(Command::StopLending), Effect::ReleaseLock]
    );
    assert_eq!(state.volunteer.phase_text(), "Failed");
    assert!(!state.volunteer.is_lending());
    assert_eq!(state.volunteer.lending.phase, failed);
    assert!(state.worker_runs, "a question may still be asked over the same link");
}

#[test]
fn old_questions_make_room() {
    let mut state = page();
    for number in 0..=MAX_EXCHANGES {
        type_and_ask(&mut state, &format!("question {number}"));
        state.reduce(answer(RequestId(u32::try_from(number).unwrap()), done()));
    }
    assert_eq!(state.asking.exchanges.len(), MAX_EXCHANGES);
    assert_eq!(state.asking.exchanges[0].prompt, "question 1");
}

#[test]
fn a_silent_server_leaves_what_was_known() {
    let mut state = page();
    state.reduce(Action::Swarm(Ok(SwarmView::default())));
    state.reduce(Action::Silent("gone".to_owned()));
    assert!(state.swarm.value.is_some() && state.swarm.failure.is_some());
    assert_eq!(state.tally.failure.as_deref(), Some("gone"));
    state.reduce(Action::Swarm(Ok(SwarmView::default())));
    assert_eq!(state.swarm.failure, None);
    state.reduce(Action::Swarm(Err("broken".to_owned())));
    assert!(state.swarm.value.is_some() && state.swarm.failure.is_some());
}

#[test]
fn names_come_when_they_are_asked_for_one_page_after_another() {
    let node = |byte| swarm::swarm_of(&vec![None; byte]).nodes.pop().unwrap();
    let names = |nodes, next: Option<usize>| {
        Action::Names(Ok(NodesPage { nodes, next: next.map(|byte| node(byte).id) }))
    };
    let mut state = page();
    assert_eq!(state.reduce(Action::ShowNames), [Effect::FetchNames { after: None }]);
    assert_eq!(state.reduce(Action::ShowNames), [], "one at a time");
    state.reduce(names(vec![node(1), node(2)], Some(2)));
    assert!(state.names.has_more);
    let after = Some(node(2).id);
    assert_eq!(state.reduce(Action::ShowNames), [Effect::FetchNames { after }]);
    state.reduce(Action::Names(Err("gone".to_owned())));
    assert_eq!((state.names.failure.as_deref(), state.names.nodes.len()), (Some("gone"), 2));
    state.reduce(Action::ShowNames);
    state.reduce(names(vec![node(2), node(3)], None));
    let ids: Vec<NodeId> = state.names.nodes.iter().map(|node| node.id).collect();
    assert_eq!(ids, [node(1).id, node(2).id, node(3).id]);
    assert!(!state.names.has_more && state.names.failure.is_none());
}

#[test]
fn a_page_in_a_room_asks_and_lends_there() {
    let secret = Invitation::from(RoomSecret([7; 16]));
    let opened = Opened { server: SERVER.to_owned(), room: Some(secret), ..Opened::default() };
    let mut state = State::new(opened, &Options::default(), None);
    state.reduce(Action::TypePrompt("Why?".to_owned()));
    let effects = state.reduce(Action::Ask { random_seed: 1, asked_at_s: 60 });
    let connect = Command::Connect { server: SERVER.to_owned(), room: Some(secret) };
    assert!(effects.contains(&Effect::Send(connect)), "{effects:?}");
    assert_eq!(state.reduce(Action::LeaveRoom), [Effect::LeaveRoom]);
}

#[test]
fn a_code_starts_the_worker_and_leads_into_the_room() {
    let mut state = page();
    state.reduce(Action::Door(DoorAction::TypeCode("4821-KQ7M".to_owned())));
    let effects = state.reduce(Action::Door(DoorAction::Knock { seed: [1; 32] }));
    assert!(effects.contains(&Effect::StartWorker), "{effects:?}");
    assert!(matches!(effects.last(), Some(Effect::Send(Command::Door(DoorCommand::Knock { .. })))));
    let room = Invitation::from(RoomSecret([7; 16]));
    let invited = Action::Notice(Notice::Door(DoorNotice::Invited { room }));
    assert_eq!(state.reduce(invited), [Effect::EnterRoom(room)]);
}

#[test]
fn half_an_invitation_is_said_to_be_one() {
    let opened = Opened { is_room_unreadable: true, ..Opened::default() };
    let state = State::new(opened, &Options::default(), None);
    assert!(state.problem.is_some_and(|problem| problem.text.contains("not whole")));
}
