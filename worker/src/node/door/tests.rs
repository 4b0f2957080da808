//! Two nodes at a door, with what the server passes on between them by hand.

use potluck_net as net;
use potluck_protocol::codec;
use potluck_protocol::door::DoorCode;
use potluck_protocol::identity::Identity;
use potluck_protocol::invitation::TicketFault;

use super::*;
use crate::node::Action;

const NOW_S: u64 = 1_790_000_000;

/// A node with a link, and its doors.
struct One {
    context: Context,
    door: Door,
}

/// What came of something.
#[derive(Debug, Default, PartialEq)]
struct Out {
    said: Vec<ToDoor>,
    told: Vec<DoorNotice>,
}

impl One {
    fn new(seed: u8, room: Option<Invitation>) -> Self {
        let mut context = Context::new(Identity::from_seed(&[seed; 32]));
        context.calendar_s = NOW_S;
        context.enter(room);
        context.link.handle_welcome(Vec::new(), 5_000, &mut context.outbox);
        context.outbox.actions.clear();
        Self { context, door: Door::default() }
    }

    fn person(&mut self, command: DoorCommand) -> Out {
        self.door.command(command, &mut self.context);
        self.out()
    }

    fn server(&mut self, message: FromDoor) -> Out {
        self.door.handle(message, &mut self.context);
        self.out()
    }

    fn pass(&mut self, seconds: u64) -> Out {
        self.context.now += Duration::from_secs(seconds);
        self.door.tick(&mut self.context);
        self.out()
    }

    fn out(&mut self) -> Out {
        let mut out = Out::default();
        for action in self.context.outbox.actions.drain(..) {
            match action {
                Action::Transport(net::Command::SendServer { message }) => {
                    match codec::decode_to_server(&message).expect("it is within the limits") {
                        ToServer::Door(said) => out.said.push(said),
                        other => panic!("{other:?}"),
                    }
                }
                Action::Notice(Notice::Door(told)) => out.told.push(told),
                other => panic!("{other:?}"),
            }
        }
        out
    }

    /// Opens a door; its code, and what the newcomer is shown.
    fn open(&mut self) -> (DoorCode, Vec<u8>) {
        let mut out = self.person(DoorCommand::Open { seed: [5; 32] });
        let Some(ToDoor::Open { hello }) = out.said.pop() else { panic!("{out:?}") };
        let mut out = self.server(FromDoor::Opened { door: 4821 });
        let Some(DoorNotice::Opened { code }) = out.told.pop() else { panic!("{out:?}") };
        assert_eq!(code.door, 4821);
        (code, hello)
    }

    /// Knocks with a code; what the member is sent.
    fn knock(&mut self, code: DoorCode, hello: Vec<u8>) -> Vec<u8> {
        let out = self.person(DoorCommand::Knock { code, seed: [6; 32] });
        assert_eq!(out.said, [ToDoor::Try { door: 4821 }]);
        let mut out = self.server(FromDoor::Hello { door: 4821, hello });
        let Some(ToDoor::Knock { door: 4821, knock }) = out.said.pop() else { panic!("{out:?}") };
        knock
    }
}

fn ended(why: DoorEnd) -> Vec<DoorNotice> {
    vec![DoorNotice::Ended { why }]
}

fn room() -> Invitation {
    RoomSecret([7; 16]).into()
}

/// A room with a list, which the node of seed 1 keeps.
fn kept() -> Invitation {
    Invitation::kept_by(&Identity::from_seed(&[1; 32]), RoomSecret([7; 16]))
}

/// A member whom somebody with the code has knocked at, and who.
fn knocked(room: Invitation) -> (One, One, Out) {
    let (mut member, mut newcomer) = (One::new(1, Some(room)), One::new(2, None));
    let (code, hello) = member.open();
    let knock = newcomer.knock(code, hello);
    let out = member.server(FromDoor::Knocked { door: 4821, knock });
    (member, newcomer, out)
}

/// What the member answers, once it is passed on.
fn answer(member: &mut One, yes: bool) -> Vec<u8> {
    let mut out = member.person(DoorCommand::Answer { yes });
    let Some(ToDoor::Answer { door: 4821, sealed }) = out.said.pop() else { panic!("{out:?}") };
    let end = if yes { DoorEnd::LetIn } else { DoorEnd::SentAway };
    assert_eq!(member.server(FromDoor::Passed { door: 4821 }).told, ended(end));
    sealed
}

#[test]
fn who_has_the_code_is_shown_and_let_in_on_a_yes() {
    let (mut member, mut newcomer, out) = knocked(room());
    let who = Identity::from_seed(&[2; 32]).in_room(room().room()).node();
    assert_eq!(out.told, [DoorNotice::Knocked { who }]);
    let sealed = answer(&mut member, true);
    let secret = RoomSecret([7; 16]).to_string();
    assert!(!sealed.windows(secret.len()).any(|part| part == secret.as_bytes()));
    let out = newcomer.server(FromDoor::Answered { door: 4821, sealed: sealed.clone() });
    assert_eq!(out.told, [DoorNotice::Invited { room: room() }]);
    // The same again: nobody waits for it any more.
    assert_eq!(newcomer.server(FromDoor::Answered { door: 4821, sealed }), Out::default());
}

#[test]
fn a_no_tells_nothing_of_the_room() {
    let (mut member, mut newcomer, _) = knocked(room());
    let sealed = answer(&mut member, false);
    let out = newcomer.server(FromDoor::Answered { door: 4821, sealed });
    assert_eq!(out.told, ended(DoorEnd::SentAway));
}

#[test]
fn a_wrong_code_ends_the_door_at_the_first_guess() {
    let (mut member, mut newcomer) = (One::new(1, Some(room())), One::new(2, None));
    let (code, hello) = member.open();
    let wrong = DoorCode { letters: *b"0000", ..code };
    assert_ne!(wrong, code);
    let knock = newcomer.knock(wrong, hello.clone());
    let out = member.server(FromDoor::Knocked { door: 4821, knock });
    assert_eq!(out.told, ended(DoorEnd::WrongCode), "the person is not even asked");
    let why = DoorEnd::WrongCode;
    assert_eq!(out.said, [ToDoor::Close { door: 4821, why }]);
    assert_eq!(newcomer.server(FromDoor::Closed { door: 4821, why }).told, ended(why));
    // The right one, at the same door: too late, and so is a yes.
    let knock = newcomer.knock(code, hello);
    assert_eq!(member.server(FromDoor::Knocked { door: 4821, knock }), Out::default());
    assert_eq!(member.person(DoorCommand::Answer { yes: true }), Out::default());
}

#[test]
fn a_second_knock_is_not_heard() {
    let (mut member, _, _) = knocked(room());
    let mut other = One::new(3, None);
    let (code, hello) = One::new(1, Some(room())).open();
    let knock = other.knock(code, hello);
    assert_eq!(member.server(FromDoor::Knocked { door: 4821, knock }), Out::default());
}

#[test]
fn a_server_that_changes_anything_is_found_out() {
    // Another room's name: the newcomer's key exchange is of that room, and fails.
    let (mut member, mut newcomer) = (One::new(1, Some(room())), One::new(2, None));
    let (code, mut hello) = member.open();
    hello[0] ^= 1;
    let knock = newcomer.knock(code, hello);
    let out = member.server(FromDoor::Knocked { door: 4821, knock });
    assert_eq!(out.told, ended(DoorEnd::WrongCode));
    // An answer of its own, and half of the member's.
    let changes: [fn(&mut Vec<u8>); 3] =
        [|sealed| sealed[0] ^= 1, |sealed| sealed.truncate(20), Vec::clear];
    for change in changes {
        let (mut member, mut newcomer, _) = knocked(room());
        let mut sealed = answer(&mut member, true);
        change(&mut sealed);
        let out = newcomer.server(FromDoor::Answered { door: 4821, sealed });
        assert_eq!(out.told, ended(DoorEnd::WrongCode));
    }
    // No exchange at all.
    let mut newcomer = One::new(2, None);
    newcomer.person(DoorCommand::Knock { code, seed: [6; 32] });
    let out = newcomer.server(FromDoor::Hello { door: 4821, hello: vec![0; 3] });
    assert_eq!(out.told, ended(DoorEnd::NoDoor));
}

#[test]
fn a_door_is_closed_after_ten_minutes_and_a_late_yes_lets_nobody_in() {
    let (mut member, mut newcomer, _) = knocked(room());
    assert_eq!(member.pass(DOOR_S - 1), Out::default());
    let out = member.pass(1);
    assert_eq!(out.told, ended(DoorEnd::Expired));
    assert_eq!(out.said, [ToDoor::Close { door: 4821, why: DoorEnd::Expired }]);
    assert_eq!(member.person(DoorCommand::Answer { yes: true }), Out::default());
    assert_eq!(newcomer.pass(DOOR_S).told, ended(DoorEnd::Expired));
}

#[test]
fn who_keeps_the_list_gives_the_newcomer_a_pass() {
    let (mut member, mut newcomer, out) = knocked(kept());
    let [DoorNotice::Knocked { who }] = out.told[..] else { panic!("{out:?}") };
    let sealed = answer(&mut member, true);
    let out = newcomer.server(FromDoor::Answered { door: 4821, sealed });
    let [DoorNotice::Invited { room }] = out.told[..] else { panic!("{out:?}") };
    assert_eq!(room.entry().check(who, NOW_S), Ok(()));
    assert_eq!(room.entry().check(who, NOW_S + 31 * 24 * 3600), Err(TicketFault::Ended));
    // With it, it is in, and cannot give others one.
    let mut newcomer = One::new(2, Some(room));
    assert_eq!(newcomer.context.me, who);
    assert_eq!(newcomer.context.room.map(|room| room.entry().check(who, NOW_S)), Some(Ok(())));
    let out = newcomer.person(DoorCommand::Open { seed: [5; 32] });
    assert_eq!((out.told, out.said), (ended(DoorEnd::NotKeeper), vec![]));
    let admit = DoorCommand::Admit { member: NodeId([3; 32]), days: 30 };
    assert_eq!(newcomer.person(admit).told, ended(DoorEnd::NotKeeper));
}

#[test]
fn the_keeper_is_on_the_list_and_puts_others_there() {
    let mut keeper = One::new(1, Some(kept()));
    let me = keeper.context.me;
    assert_eq!(keeper.context.room.map(|room| room.entry().check(me, NOW_S)), Some(Ok(())));
    let member = NodeId([3; 32]);
    let out = keeper.person(DoorCommand::Admit { member, days: 1 });
    let [DoorNotice::Admitted { room }] = out.told[..] else { panic!("{out:?}") };
    assert_eq!(room.entry().check(member, NOW_S + 24 * 3600 - 1), Ok(()));
    assert_eq!(room.entry().check(member, NOW_S + 24 * 3600), Err(TicketFault::Ended));
}

#[test]
fn outside_of_rooms_nobody_is_let_in() {
    let mut one = One::new(1, None);
    let out = one.person(DoorCommand::Open { seed: [5; 32] });
    assert_eq!((out.told, out.said), (ended(DoorEnd::NotInRoom), vec![]));
}

#[test]
fn a_lost_link_ends_both_sides() {
    let (mut member, mut newcomer, _) = knocked(room());
    for one in [&mut member, &mut newcomer] {
        one.door.handle_link_lost(&mut one.context);
        assert_eq!(one.out().told, ended(DoorEnd::Left));
    }
    assert_eq!(member.person(DoorCommand::Answer { yes: true }), Out::default());
}
