//! Who stands at which door, and who may say what there.
//!
//! A door is tried once: whoever comes second is told so, and whoever guesses wrong has used it up. So
//! a stranger has one guess at the letters a door, the server as well.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use potluck_protocol::door::{DOOR_NUMBERS, DOOR_S, DoorEnd, FromDoor, ToDoor};
use tokio::time::Instant;

use crate::socket::rate::{Bucket, Rate};

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Each connection has its own.
    pub(super) connection: u64,
    /// What is counted as one visitor's place.
    pub(super) address: IpAddr,
}

/// All doors, by number.
#[derive(Debug, Default)]
pub(super) struct Table {
    doors: HashMap<u32, Door>,
    tries: HashMap<IpAddr, Bucket>,
}

#[derive(Debug)]
struct Door {
    member: u64,
    hello: Vec<u8>,
    until: Instant,
    newcomer: Option<u64>,
    has_knocked: bool,
}

/// What is to be said to which connection.
type Said = Vec<(u64, FromDoor)>;

/// Doors that are open at once: many for one server, and a ninth of the numbers, so that who tries any
/// number mostly finds none.
const MAX_DOORS: usize = 1_000;
/// Codes that are made or tried from one address: a school class at once, and then one in a quarter of
/// a minute. Whoever guesses all day from one address uses up 5,800 codes at most, of a million each.
const TRIES: Rate = Rate::new(Duration::from_secs(15), 60);
/// Addresses that are remembered for it.
const MAX_ADDRESSES: usize = 10_000;

impl Table {
    /// `random` chooses the number of a new door.
    pub(super) fn handle(
        &mut self,
        from: Caller,
        message: ToDoor,
        random: u32,
        now: Instant,
    ) -> Said {
        let mut said = self.expire(now);
        said.extend(match message {
            ToDoor::Open { hello } => self.open(from, hello, random, now),
            ToDoor::Try { door } => self.try_door(from, door, now),
            ToDoor::Knock { door, knock } => self.knock(from, door, knock),
            ToDoor::Answer { door, sealed } => self.answer(from, door, sealed),
            ToDoor::Close { door, why } => self.close(from, door, why),
        });
        said
    }

    /// A connection is gone, and with it its doors.
    pub(super) fn gone(&mut self, connection: u64) -> Said {
        let is_its = |door: &Door| door.member == connection || door.newcomer == Some(connection);
        self.doors
            .extract_if(|_, door| is_its(door))
            .filter_map(|(number, door)| {
                let other =
                    if door.member == connection { door.newcomer } else { Some(door.member) };
                Some((other?, FromDoor::Closed { door: number, why: DoorEnd::Left }))
            })
            .collect()
    }

    fn open(&mut self, from: Caller, hello: Vec<u8>, random: u32, now: Instant) -> Said {
        let mut said = Vec::new();
        let before = self.doors.iter().find(|(_, door)| door.member == from.connection);
        if let Some(number) = before.map(|(number, _)| *number) {
            let newcomer = self.doors.remove(&number).and_then(|door| door.newcomer);
            let closed = FromDoor::Closed { door: number, why: DoorEnd::Left };
            said.extend(newcomer.map(|newcomer| (newcomer, closed)));
        }
        if self.doors.len() >= MAX_DOORS || !self.may_try(from.address, now) {
            said.push((from.connection, FromDoor::Closed { door: 0, why: DoorEnd::TooMany }));
            return said;
        }
        let (first, last) = (*DOOR_NUMBERS.start(), *DOOR_NUMBERS.end());
        let mut number = first + random % (last - first + 1);
        // There are more numbers than doors.
        while self.doors.contains_key(&number) {
            number = if number == last { first } else { number + 1 };
        }
        let until = now + Duration::from_secs(DOOR_S);
        let member = from.connection;
        let door = Door { member, hello, until, newcomer: None, has_knocked: false };
        self.doors.insert(number, door);
        said.push((member, FromDoor::Opened { door: number }));
        said
    }

    fn try_door(&mut self, from: Caller, number: u32, now: Instant) -> Said {
        let may_try = self.may_try(from.address, now);
        let closed = |why| vec![(from.connection, FromDoor::Closed { door: number, why })];
        if !may_try {
            return closed(DoorEnd::TooMany);
        }
        match self.doors.get_mut(&number) {
            Some(door) if door.member == from.connection => closed(DoorEnd::NoDoor),
            Some(door) if door.newcomer.is_some() => closed(DoorEnd::Taken),
            Some(door) => {
                door.newcomer = Some(from.connection);
                // Nobody else will be shown it.
                let hello = std::mem::take(&mut door.hello);
                vec![(from.connection, FromDoor::Hello { door: number, hello })]
            }
            None => closed(DoorEnd::NoDoor),
        }
    }

    fn knock(&mut self, from: Caller, number: u32, knock: Vec<u8>) -> Said {
        let door = self.doors.get_mut(&number);
        let door = door.filter(|door| door.newcomer == Some(from.connection) && !door.has_knocked);
        match door {
            Some(door) => {
                door.has_knocked = true;
                vec![(door.member, FromDoor::Knocked { door: number, knock })]
            }
            None => no_door(from, number),
        }
    }

    fn answer(&mut self, from: Caller, number: u32, sealed: Vec<u8>) -> Said {
        let door = self.doors.get(&number);
        let door = door.filter(|door| door.member == from.connection && door.has_knocked);
        let Some(newcomer) = door.and_then(|door| door.newcomer) else {
            return no_door(from, number);
        };
        self.doors.remove(&number);
        vec![
            (newcomer, FromDoor::Answered { door: number, sealed }),
            (from.connection, FromDoor::Passed { door: number }),
        ]
    }

    fn close(&mut self, from: Caller, number: u32, why: DoorEnd) -> Said {
        let Some(door) = self.doors.get(&number) else { return Vec::new() };
        let (other, why) = if door.member == from.connection {
            (door.newcomer, why)
        } else if door.newcomer == Some(from.connection) {
            // The door is not the newcomer's to say anything about.
            (Some(door.member), DoorEnd::Left)
        } else {
            return Vec::new();
        };
        self.doors.remove(&number);
        other.map(|other| (other, FromDoor::Closed { door: number, why })).into_iter().collect()
    }

    fn expire(&mut self, now: Instant) -> Said {
        self.doors
            .extract_if(|_, door| door.until <= now)
            .flat_map(|(number, door)| {
                let closed = FromDoor::Closed { door: number, why: DoorEnd::Expired };
                [Some(door.member), door.newcomer]
                    .into_iter()
                    .flatten()
                    .map(move |connection| (connection, closed.clone()))
            })
            .collect()
    }

    fn may_try(&mut self, address: IpAddr, now: Instant) -> bool {
        if self.tries.len() >= MAX_ADDRESSES && !self.tries.contains_key(&address) {
            self.tries.retain(|_, bucket| !bucket.is_full(now));
            if self.tries.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        self.tries.entry(address).or_insert_with(|| Bucket::full(now)).take(TRIES, now)
    }
}

fn no_door(from: Caller, door: u32) -> Said {
    vec![(from.connection, FromDoor::Closed { door, why: DoorEnd::NoDoor })]
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MEMBER: Caller = Caller { connection: 1, address: address(1) };
    const NEWCOMER: Caller = Caller { connection: 2, address: address(2) };
    const STRANGER: Caller = Caller { connection: 3, address: address(3) };

    const fn address(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
    }

    fn open() -> ToDoor {
        ToDoor::Open { hello: vec![7] }
    }

    fn closed(to: Caller, door: u32, why: DoorEnd) -> Said {
        vec![(to.connection, FromDoor::Closed { door, why })]
    }

    /// With the door 1234 of [`MEMBER`].
    fn opened(now: Instant) -> Table {
        let mut table = Table::default();
        let said = table.handle(MEMBER, open(), 234, now);
        assert_eq!(said, [(1, FromDoor::Opened { door: 1234 })]);
        table
    }

    #[test]
    fn a_newcomer_is_introduced_and_answered_once() {
        let now = Instant::now();
        let mut table = opened(now);
        let mut say = |from, message| table.handle(from, message, 0, now);
        let hello = FromDoor::Hello { door: 1234, hello: vec![7] };
        assert_eq!(say(NEWCOMER, ToDoor::Try { door: 1234 }), [(2, hello)]);
        // A second one, and the first one again: the door was tried.
        let try_again = || ToDoor::Try { door: 1234 };
        assert_eq!(say(STRANGER, try_again()), closed(STRANGER, 1234, DoorEnd::Taken));
        assert_eq!(say(NEWCOMER, try_again()), closed(NEWCOMER, 1234, DoorEnd::Taken));
        let answer = || ToDoor::Answer { door: 1234, sealed: vec![9] };
        assert_eq!(say(MEMBER, answer()), closed(MEMBER, 1234, DoorEnd::NoDoor), "nobody knocked");
        let knock = || ToDoor::Knock { door: 1234, knock: vec![8] };
        assert_eq!(say(STRANGER, knock()), closed(STRANGER, 1234, DoorEnd::NoDoor));
        assert_eq!(say(NEWCOMER, knock()), [(1, FromDoor::Knocked { door: 1234, knock: vec![8] })]);
        assert_eq!(
            say(NEWCOMER, knock()),
            closed(NEWCOMER, 1234, DoorEnd::NoDoor),
            "a second knock"
        );
        assert_eq!(say(STRANGER, answer()), closed(STRANGER, 1234, DoorEnd::NoDoor));
        let answered = FromDoor::Answered { door: 1234, sealed: vec![9] };
        assert_eq!(say(MEMBER, answer()), [(2, answered), (1, FromDoor::Passed { door: 1234 })]);
        assert_eq!(say(MEMBER, answer()), closed(MEMBER, 1234, DoorEnd::NoDoor), "again");
        assert_eq!(say(STRANGER, try_again()), closed(STRANGER, 1234, DoorEnd::NoDoor));
    }

    #[test]
    fn a_door_closes_with_either_and_by_its_time() {
        let now = Instant::now();
        let tried = || {
            let mut table = opened(now);
            table.handle(NEWCOMER, ToDoor::Try { door: 1234 }, 0, now);
            table
        };
        assert_eq!(tried().gone(1), closed(NEWCOMER, 1234, DoorEnd::Left));
        assert_eq!(tried().gone(2), closed(MEMBER, 1234, DoorEnd::Left));
        assert_eq!(tried().gone(3), []);
        assert_eq!(opened(now).gone(1), []);
        let close = |why| ToDoor::Close { door: 1234, why };
        let wrong = close(DoorEnd::WrongCode);
        assert_eq!(
            tried().handle(MEMBER, wrong.clone(), 0, now),
            closed(NEWCOMER, 1234, DoorEnd::WrongCode)
        );
        let left = closed(MEMBER, 1234, DoorEnd::Left);
        assert_eq!(tried().handle(NEWCOMER, wrong.clone(), 0, now), left, "not its to say");
        assert_eq!(tried().handle(STRANGER, wrong, 0, now), []);
        // A yes that comes too late.
        let mut table = tried();
        table.handle(NEWCOMER, ToDoor::Knock { door: 1234, knock: vec![8] }, 0, now);
        let later = now + Duration::from_secs(DOOR_S);
        let late = table.handle(MEMBER, ToDoor::Answer { door: 1234, sealed: vec![9] }, 0, later);
        assert_eq!(
            late,
            [
                closed(MEMBER, 1234, DoorEnd::Expired),
                closed(NEWCOMER, 1234, DoorEnd::Expired),
                closed(MEMBER, 1234, DoorEnd::NoDoor)
            ]
            .concat()
        );
        // Another door of the same member closes the one before.
        let mut table = tried();
        let said = table.handle(MEMBER, open(), 234, now);
        assert_eq!(
            said,
            [closed(NEWCOMER, 1234, DoorEnd::Left), vec![(1, FromDoor::Opened { door: 1234 })]]
                .concat()
        );
    }

    #[test]
    fn numbers_are_found_up_to_the_limit() {
        let now = Instant::now();
        let mut table = Table::default();
        let mut numbers = std::collections::HashSet::new();
        for connection in 0..MAX_DOORS as u64 {
            let [high, low] = u16::try_from(connection / 50).unwrap().to_be_bytes();
            let address = IpAddr::V4(Ipv4Addr::new(198, 51, high, low));
            // All want the last number.
            let from = Caller { connection, address };
            let said = table.handle(from, open(), 8_999, now);
            let [(to, FromDoor::Opened { door })] = said[..] else { panic!("{said:?}") };
            assert!(to == connection && DOOR_NUMBERS.contains(&door) && numbers.insert(door));
        }
        let late = Caller { connection: 5_000, address: address(1) };
        assert_eq!(table.handle(late, open(), 0, now), closed(late, 0, DoorEnd::TooMany));
    }

    #[test]
    fn guessing_is_slow() {
        let now = Instant::now();
        let mut table = Table::default();
        let day_s = 24 * 3600;
        let mut tries = 0_u32;
        // One address that tries numbers all day, five times a second.
        for tenth in 0..day_s * 5 {
            let at = now + Duration::from_millis(200) * tenth;
            let said = table.handle(STRANGER, ToDoor::Try { door: 1_000 + tenth % 9_000 }, 0, at);
            tries += u32::from(said == closed(STRANGER, 1_000 + tenth % 9_000, DoorEnd::NoDoor));
        }
        assert_eq!(tries, day_s / 15 + 59, "what is let through of 432,000");
        // With a hundred doors open all day, each try finds one with 100 / 9,000, and there has one
        // guess of 32^4.
        let a_day = f64::from(tries) * 100.0 / 9_000.0 / f64::from(32_u32.pow(4));
        assert!(a_day < 1.0 / 16_000.0, "{a_day}");
        // Others are none the worse.
        let said = table.handle(NEWCOMER, ToDoor::Try { door: 1_000 }, 0, now);
        assert_eq!(said, closed(NEWCOMER, 1_000, DoorEnd::NoDoor));
    }
}
