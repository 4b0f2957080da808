//! What is the visitor's own: when it is fetched, when the key changes, and what is not kept.

use potluck_protocol::api::{HardwareClass, ReceiptsPage};
use potluck_protocol::id::TeamId;
use potluck_protocol::page::{KeyNotice, KeyTask, SecretText};
use potluck_protocol::people::{OwnTeam, PersonView, Says, TeamView};

use super::super::mine::{MineAction, MineEffect, Which};
use super::*;

const ME: NodeId = NodeId([1; 32]);
const OTHER: NodeId = NodeId([2; 32]);
const TEAM: TeamId = TeamId([3; 16]);

fn mine(state: &mut State, action: MineAction) -> Vec<Effect> {
    state.reduce(Action::Mine(action))
}

fn sign(says: Says) -> Effect {
    Effect::Send(Command::Key(KeyTask::Sign(says)))
}

fn key(task: KeyTask) -> Effect {
    Effect::Send(Command::Key(task))
}

fn noticed(state: &mut State, notice: KeyNotice) -> Vec<Effect> {
    state.reduce(Action::Notice(Notice::Key(notice)))
}

fn signed(state: &mut State, body: &str, is_change: bool) -> Vec<Effect> {
    noticed(state, KeyNotice::Signed { body: body.to_owned(), is_change })
}

fn post(body: &str) -> Effect {
    Effect::Mine(MineEffect::Post(body.to_owned()))
}

fn named(state: &mut State, node: NodeId) -> Vec<Effect> {
    state.reduce(Action::Notice(Notice::Identity { node }))
}

/// Opened, and the worker has said who it is.
fn opened_page() -> State {
    let mut state = page();
    mine(&mut state, MineAction::Toggle);
    named(&mut state, ME);
    state
}

fn person(called: Option<&str>, team: Option<OwnTeam>) -> MineAction {
    MineAction::Person(Ok(PersonView { node: ME, called: called.map(str::to_owned), team }))
}

fn secret(text: &str) -> SecretText {
    SecretText(text.to_owned())
}

#[test]
fn nothing_is_fetched_or_started_before_it_is_opened() {
    let mut state = page();
    assert_eq!(named(&mut state, ME), [], "no worker runs");
    let effects = mine(&mut state, MineAction::Toggle);
    let board = Effect::Mine(MineEffect::FetchBoard(Which::default(), None));
    assert_eq!(effects, [board, Effect::StartWorker, connect()]);
    assert!(!state.volunteer.is_lending(), "nothing is lent by it");
    let effects = named(&mut state, ME);
    assert_eq!(effects, [Effect::FetchContribution(ME), sign(Says::Look)]);
    let body = "signed";
    assert_eq!(signed(&mut state, body, false), [post(body)]);
    let effects = mine(&mut state, person(None, None));
    let receipts = Effect::Mine(MineEffect::FetchReceipts { node: ME, before: None });
    let board = Effect::Mine(MineEffect::FetchBoard(Which::default(), Some(ME.to_string())));
    assert_eq!(effects, [receipts, board]);
    assert_eq!(mine(&mut state, MineAction::Toggle), []);
    assert_eq!(named(&mut state, OTHER), [Effect::FetchContribution(OTHER)], "nobody looks");
}

#[test]
fn a_name_is_said_and_shown_and_a_refusal_is_told() {
    let mut state = opened_page();
    mine(&mut state, person(None, None));
    mine(&mut state, MineAction::TypeName("Rosa".to_owned()));
    let says = Says::Name { name: "Rosa".to_owned() };
    assert_eq!(mine(&mut state, MineAction::Say(says.clone())), [sign(says.clone())]);
    mine(&mut state, MineAction::Person(Err("no".to_owned())));
    assert_eq!(state.mine.failure.as_deref(), Some("no"));
    assert_eq!(state.mine.typed_name, "Rosa", "it can be tried again");
    mine(&mut state, MineAction::Say(says));
    assert_eq!(state.mine.failure, None);
    assert_eq!(signed(&mut state, "name", true), [post("name")]);
    mine(&mut state, person(Some("Rosa"), None));
    assert!(state.mine.done.is_some());
    // What is being typed is not taken away by an answer to a look.
    mine(&mut state, MineAction::TypeName("Ro".to_owned()));
    mine(&mut state, person(Some("Rosa"), None));
    assert_eq!(state.mine.typed_name, "Ro");
}

#[test]
fn the_key_changes_after_a_yes_and_lending_ends_before() {
    let mut state = lending_page();
    mine(&mut state, MineAction::Toggle);
    named(&mut state, ME);
    mine(&mut state, person(Some("Rosa"), None));
    assert_eq!(mine(&mut state, MineAction::Restore), [], "no file was looked at");
    assert_eq!(mine(&mut state, MineAction::Reset), [], "nobody was asked");
    let text = secret("a file");
    let effects = mine(&mut state, MineAction::Look(text.clone()));
    assert_eq!(effects, [key(KeyTask::Look { text })]);
    let found = KeyNotice::Found { node: OTHER, server: SERVER.to_owned(), is_present: false };
    assert_eq!(noticed(&mut state, found), []);
    assert!(state.mine.found.is_some() && state.volunteer.is_lending(), "nothing has changed yet");
    let effects = mine(&mut state, MineAction::Restore);
    let stop = Effect::Send(Command::StopLending);
    assert_eq!(effects, [stop, Effect::ReleaseLock, key(KeyTask::Restore)]);
    assert!(!state.volunteer.is_lending());
    let effects = noticed(&mut state, KeyNotice::Changed { node: OTHER });
    let again = [Effect::EndWorker, Effect::ReleaseLock, Effect::StartWorker, connect()];
    assert_eq!(effects, again, "the worker with the old key ends");
    assert_eq!((state.node, &state.mine.person), (None, &None), "nothing of the old one is shown");
    assert!(state.mine.is_open && state.mine.done.is_some());
    assert!(named(&mut state, OTHER).contains(&sign(Says::Look)));
}

#[test]
fn a_bad_file_or_an_answer_that_is_written_changes_nothing() {
    let mut state = opened_page();
    mine(&mut state, MineAction::Look(secret("x")));
    noticed(&mut state, KeyNotice::Failed { reason: "no backup".to_owned() });
    assert_eq!(state.mine.failure.as_deref(), Some("no backup"));
    assert_eq!(mine(&mut state, MineAction::Restore), []);
    mine(&mut state, MineAction::NoFile);
    assert!(state.mine.failure.is_some() && state.mine.found.is_none());
    mine(&mut state, MineAction::AskReset);
    mine(&mut state, MineAction::GiveUp);
    assert_eq!(mine(&mut state, MineAction::Reset), []);
    type_and_ask(&mut state, "hello");
    mine(&mut state, MineAction::AskReset);
    assert_eq!(mine(&mut state, MineAction::Reset), []);
    assert_eq!(state.mine.failure, Some(say!("mine-busy")));
}

#[test]
fn a_backup_goes_into_a_file_and_nowhere_else() {
    let mut state = opened_page();
    assert_eq!(mine(&mut state, MineAction::BackUp), [key(KeyTask::Backup)]);
    let (name, text) = ("key.json".to_owned(), secret("the secret"));
    let effects = noticed(&mut state, KeyNotice::Backup { name: name.clone(), text: text.clone() });
    assert_eq!(effects, [Effect::Mine(MineEffect::Save { name, text })]);
    assert!(state.mine.done.as_ref().is_some_and(|done| done.contains("key.json")));
    assert!(!format!("{state:?}").contains("the secret"));
}

#[test]
fn a_team_is_joined_with_one_click_of_a_link() {
    let mut state = State::new(Opened { team: Some(TEAM), ..opened() }, &Options::default(), None);
    let look = mine(&mut state, MineAction::LookAtTeam);
    assert_eq!(look, [Effect::Mine(MineEffect::FetchTeam(TEAM))]);
    let team = TeamView { name: "Bakers".to_owned(), members: 2 };
    mine(&mut state, MineAction::Invitation(Ok(team)));
    let effects = mine(&mut state, MineAction::Join);
    let board = Effect::Mine(MineEffect::FetchBoard(Which::default(), None));
    let join = sign(Says::Join { team: TEAM });
    assert_eq!(effects, [Effect::StartWorker, connect(), join, board]);
    assert!(state.mine.is_open);
    // Its own team is what a board of teams shows the place of.
    let own = OwnTeam { id: TEAM, name: "Bakers".to_owned(), members: 3, credit_macs: 0 };
    named(&mut state, ME);
    mine(&mut state, person(None, Some(own)));
    let which = Which { of: potluck_protocol::api::BoardOf::Teams, ..Which::default() };
    let effects = mine(&mut state, MineAction::Choose(which));
    assert_eq!(effects, [Effect::Mine(MineEffect::FetchBoard(which, Some(TEAM.tag())))]);
    // In a room there are no teams.
    state.opened.room = Some(RoomSecret([1; 16]).into());
    assert_eq!(mine(&mut state, MineAction::LookAtTeam), []);
}

#[test]
fn a_statement_is_sent_when_the_one_before_is_answered() {
    let mut state = opened_page();
    assert_eq!(signed(&mut state, "join", true), [post("join")]);
    assert_eq!(
        signed(&mut state, "look", false),
        [],
        "its answer may come first, and be the older"
    );
    let own = OwnTeam { id: TEAM, name: "Bakers".to_owned(), members: 3, credit_macs: 0 };
    let effects = mine(&mut state, person(None, Some(own)));
    assert!(effects.contains(&post("look")), "{effects:?}");
    assert!(state.mine.done.is_some(), "it was the answer to what was said");
    let effects = mine(&mut state, MineAction::Person(Err("no".to_owned())));
    assert_eq!((effects, state.mine.failure.as_deref()), (Vec::new(), Some("no")));
    // Another key: what the old one's statement is answered is not shown as the new one's.
    assert_eq!(signed(&mut state, "old", true), [post("old")]);
    assert_eq!(signed(&mut state, "never sent", true), []);
    noticed(&mut state, KeyNotice::Changed { node: OTHER });
    named(&mut state, OTHER);
    assert_eq!(signed(&mut state, "new", false), []);
    assert_eq!(mine(&mut state, person(Some("Rosa"), None)), [post("new")]);
    assert_eq!(state.mine.person, None);
}

#[test]
fn pages_of_receipts_follow_each_other_and_late_boards_are_dropped() {
    let mut state = opened_page();
    let page = |next| ReceiptsPage { next, receipts: Vec::new() };
    mine(&mut state, MineAction::Receipts(None, Ok(page(Some(7)))));
    let effects = mine(&mut state, MineAction::MoreReceipts);
    assert_eq!(effects, [Effect::Mine(MineEffect::FetchReceipts { node: ME, before: Some(7) })]);
    mine(&mut state, MineAction::Receipts(Some(7), Ok(page(Some(3)))));
    mine(&mut state, MineAction::Receipts(Some(7), Ok(page(None))));
    assert_eq!(state.mine.receipts.next, Some(3), "the same page twice");
    let phones = Which { class: HardwareClass::Phone, ..Which::default() };
    mine(&mut state, MineAction::Choose(phones));
    mine(&mut state, MineAction::Board(Which::default(), Ok(Default::default())));
    assert_eq!(state.mine.board, None);
    mine(&mut state, MineAction::Board(phones, Ok(Default::default())));
    assert!(state.mine.board.is_some());
}
