//! What lets somebody into a room: the secret, and where its maker keeps a list, a pass of one's own.
//!
//! ```text
//! https://host/#room=SECRET                 whoever has it is in
//! https://host/#room=SECRET.KEEPER          a room with a list, for somebody who has no pass yet
//! https://host/#room=SECRET.KEEPER.PASS     the same with one's own pass, to come back with
//! https://host/#room=…~MODEL                any of them, where the room computes another than the
//!                                           server's first model
//! ```
//! The keeper is a key that the maker's node derives from its own and the secret, so that it need not
//! be kept. It is part of the room's name, so nobody can leave the list out. A pass is the keeper's
//! word that one key may be in the room until a day. The server asks for it when a member connects, and
//! members ask each other when they open a connection: the server cannot bring in who has none.

use core::fmt;
use core::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::id::NodeId;
use crate::identity::{Identity, Purpose, Signature, verify};
use crate::room::{ModelTag, ParseRoomError, RoomId, RoomPass, RoomSeal, RoomSecret};
use crate::server::SignedSignal;

/// What lets somebody into a room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Invitation {
    /// What all members share.
    pub secret: RoomSecret,
    /// Whose list says who may come in; none of a room for everybody who has the secret.
    pub keeper: Option<NodeId>,
    /// The pass of whoever this is for.
    pub ticket: Option<RoomTicket>,
    /// Which of the server's models it computes; none is the server's first.
    pub model: Option<ModelTag>,
}

/// A keeper's word that one key may be in the room until a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomTicket {
    /// When it ends, seconds since 1970.
    pub until_s: u64,
    /// The keeper's, over the room, the member's key there and `until_s`.
    pub signature: Signature,
}

/// What a member shows the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomEntry {
    /// Which room.
    pub pass: RoomPass,
    /// That the member is on its list, where it has one.
    pub ticket: Option<RoomTicket>,
}

/// Somebody may not be in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketFault {
    /// The room has a list, and no pass was shown.
    #[error("this room has a list of who may come in, and no pass was shown")]
    Missing,
    /// It is another key's, another room's, or not the keeper's word.
    #[error("the pass that was shown is not one of this room for this key")]
    NotTheirs,
    /// Its day is over.
    #[error("the pass has ended")]
    Ended,
}

/// How a link names a room, in its fragment: `https://host/#room=…`.
pub const ROOM_FRAGMENT: &str = "room=";

/// Days that a pass holds where its keeper says nothing else: rare enough for people who are asked for
/// the next one, short enough to be rid of somebody.
pub const TICKET_DAYS: u16 = 30;

/// Bytes of a pass in a link: eight of its end, and a signature.
const TICKET_BYTES: usize = 8 + 64;

const DAY_S: u64 = 24 * 3600;

/// When a pass that is given now for so many days ends, seconds since 1970.
#[must_use]
pub fn ticket_end_s(now_s: u64, days: u16) -> u64 {
    now_s.saturating_add(u64::from(days) * DAY_S)
}

impl RoomTicket {
    /// Lets `member` into `room` until then, as `keeper`.
    #[must_use]
    pub fn new(keeper: &Identity, room: RoomId, member: NodeId, until_s: u64) -> Self {
        let signature =
            keeper.sign(Purpose::RoomTicket, &Self::signed_bytes(room, member, until_s));
        Self { until_s, signature }
    }

    /// Whether it lets `member` into the room of `pass` at `now_s`, seconds since 1970.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, pass: &RoomPass, member: NodeId, now_s: u64) -> Result<(), TicketFault> {
        let bytes = Self::signed_bytes(pass.room(), member, self.until_s);
        let is_keepers = pass
            .keeper
            .is_some_and(|keeper| verify(keeper, Purpose::RoomTicket, &bytes, &self.signature));
        match is_keepers {
            false => Err(TicketFault::NotTheirs),
            true if self.until_s <= now_s => Err(TicketFault::Ended),
            true => Ok(()),
        }
    }

    fn signed_bytes(room: RoomId, member: NodeId, until_s: u64) -> Vec<u8> {
        crate::encoding::encode(&(room.0, member, until_s))
    }
}

impl RoomEntry {
    /// Whether `member` may come in with it at `now_s`, seconds since 1970.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, member: NodeId, now_s: u64) -> Result<(), TicketFault> {
        match (self.pass.keeper, &self.ticket) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(TicketFault::Missing),
            (Some(_), Some(ticket)) => ticket.check(&self.pass, member, now_s),
        }
    }

    /// When the member has to go, seconds since 1970.
    #[must_use]
    pub fn until_s(&self) -> Option<u64> {
        self.pass.keeper.and(self.ticket).map(|ticket| ticket.until_s)
    }
}

impl From<RoomSecret> for Invitation {
    /// To a room for everybody who has the secret.
    fn from(secret: RoomSecret) -> Self {
        Self { secret, keeper: None, ticket: None, model: None }
    }
}

impl Invitation {
    /// To a room with a list that the node `maker` keeps.
    #[must_use]
    pub fn kept_by(maker: &Identity, secret: RoomSecret) -> Self {
        Self { keeper: Some(maker.keeper_of(&secret).node()), ..secret.into() }
    }

    /// The same for whoever has this pass.
    #[must_use]
    pub fn with(self, ticket: Option<RoomTicket>) -> Self {
        Self { ticket, ..self }
    }

    /// To another room, which computes this model.
    #[must_use]
    pub fn computing(self, model: Option<ModelTag>) -> Self {
        Self { model, ..self }
    }

    /// Which room, as the server is shown it.
    #[must_use]
    pub fn pass(&self) -> RoomPass {
        RoomPass { keeper: self.keeper, model: self.model, ..self.secret.pass() }
    }

    /// What the server is shown.
    #[must_use]
    pub fn entry(&self) -> RoomEntry {
        RoomEntry { pass: self.pass(), ticket: self.ticket }
    }

    /// What members seal with.
    #[must_use]
    pub fn seal(&self) -> RoomSeal {
        self.secret.seal()
    }

    /// The room's name on its server.
    #[must_use]
    pub fn room(&self) -> RoomId {
        self.pass().room()
    }

    /// What signs passes, if `maker` is the node that keeps the list.
    #[must_use]
    pub fn keeper_of(&self, maker: &Identity) -> Option<Identity> {
        let keeper = maker.keeper_of(&self.secret);
        (self.keeper == Some(keeper.node())).then_some(keeper)
    }

    /// True if `signed` is `from`'s to `to`, and both are members at `now_s`, seconds since 1970.
    #[must_use]
    pub fn is_signal(&self, signed: &SignedSignal, from: NodeId, to: NodeId, now_s: u64) -> bool {
        let entry = RoomEntry { pass: self.pass(), ticket: signed.ticket.as_deref().copied() };
        signed.is_from(from, to, Some(&self.seal())) && entry.check(from, now_s).is_ok()
    }

    /// A link that invites to the room: the address of the server's page with the invitation behind it.
    #[must_use]
    pub fn link(&self, page: &str) -> String {
        let page = page.split_once('#').map_or(page, |(page, _)| page);
        let slash = if page.ends_with('/') { "" } else { "/" };
        format!("{page}{slash}#{ROOM_FRAGMENT}{self}")
    }
}

/// As it stands in a link, behind `#room=`: letters, digits, dots and a tilde, in lower case.
impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.secret)?;
        if let Some(keeper) = self.keeper {
            write!(f, ".{}", base32(&keeper.0))?;
            if let Some(ticket) = self.ticket {
                let bytes = [&ticket.until_s.to_be_bytes()[..], &ticket.signature.0].concat();
                write!(f, ".{}", base32(&bytes))?;
            }
        }
        self.model.map_or(Ok(()), |model| write!(f, "~{}", base32(&model.0)))
    }
}

fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

/// Takes a whole link, its fragment, or what stands behind `#room=` alone, in letters of either case.
impl FromStr for Invitation {
    type Err = ParseRoomError;

    fn from_str(text: &str) -> Result<Self, ParseRoomError> {
        let text = text.trim();
        let text = match text.rsplit_once(ROOM_FRAGMENT) {
            Some((_, text)) => text,
            None if text.contains(['/', '#']) => {
                return Err(ParseRoomError("a link without #room="));
            }
            None => text,
        };
        let (text, model) = text.split_once('~').map_or((text, None), |(it, tag)| (it, Some(tag)));
        let mut parts = text.split('.');
        let secret = parts.next().unwrap_or_default().parse()?;
        let keeper = parts.next().map(read).transpose()?.map(NodeId);
        let ticket = parts.next().map(read).transpose()?.map(|bytes: [u8; TICKET_BYTES]| {
            let (mut until, mut signature) = ([0; 8], [0; 64]);
            until.copy_from_slice(&bytes[..8]);
            signature.copy_from_slice(&bytes[8..]);
            RoomTicket { until_s: u64::from_be_bytes(until), signature: Signature(signature) }
        });
        let model = model.map(read).transpose()?.map(ModelTag);
        let all = Self { secret, keeper, ticket, model };
        parts.next().map_or(Ok(all), |_| Err(ParseRoomError("what was given")))
    }
}

/// So many bytes in base 32.
fn read<const BYTES: usize>(text: &str) -> Result<[u8; BYTES], ParseRoomError> {
    let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or(ParseRoomError("what was given"))
}

impl Serialize for Invitation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Invitation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Secrets stay out of logs.
impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invitation to {:?}", self.room())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Signal;

    const SECRET: RoomSecret = RoomSecret([0x5a; 16]);
    const NOW_S: u64 = 1_790_000_000;

    fn maker() -> Identity {
        Identity::from_seed(&[1; 32])
    }

    /// A room with a list, with a pass for `member` there until `until_s`.
    fn kept(member: NodeId, until_s: u64) -> Invitation {
        let room = Invitation::kept_by(&maker(), SECRET);
        let keeper = room.keeper_of(&maker()).expect("its maker keeps it");
        room.with(Some(RoomTicket::new(&keeper, room.room(), member, until_s)))
    }

    #[test]
    fn an_invitation_is_read_however_it_is_pasted() {
        let kept = kept(NodeId([3; 32]), NOW_S);
        let model = Some(ModelTag::of("potluck-tiny"));
        let open = Invitation::from(SECRET);
        for invitation in
            [open, open.computing(model), kept.with(None), kept, kept.computing(model)]
        {
            let link = invitation.link("https://potluck.example/party");
            assert_eq!(link, format!("https://potluck.example/party/#room={invitation}"));
            assert_eq!(
                invitation.link("https://potluck.example/#elsewhere"),
                format!("https://potluck.example/#room={invitation}")
            );
            let alone = invitation.to_string();
            let upper = alone.to_uppercase();
            for text in [&link, &alone, &upper, &format!(" {link}\n"), &format!("#room={alone}")] {
                assert_eq!(text.parse(), Ok(invitation), "{text:?}");
            }
        }
        assert_eq!(Invitation::from(SECRET).to_string().len(), 26);
    }

    #[test]
    fn what_invites_to_no_room_is_refused_with_what_to_do() {
        let (short, long) = (&SECRET.to_string()[1..], format!("{SECRET}a"));
        let whole = kept(NodeId([3; 32]), NOW_S).to_string();
        for text in [
            "",
            "room",
            short,
            &long,
            "https://potluck.example/",
            "#room=",
            "é".repeat(26).as_str(),
            "0189".repeat(7).as_str(),
            &format!("{SECRET}."),
            &format!("{SECRET}.{SECRET}"),
            &whole[..whole.len() - 1],
            &format!("{whole}."),
            &format!("{whole}~"),
            &format!("{SECRET}~{SECRET}"),
        ] {
            let error = text.parse::<Invitation>().expect_err(text);
            assert!(error.to_string().contains("paste the whole link"), "{error}");
        }
    }

    #[test]
    fn a_pass_is_of_one_key_in_one_room_until_its_day() {
        let (member, other) = (NodeId([3; 32]), NodeId([4; 32]));
        let entry = kept(member, NOW_S + 1).entry();
        assert_eq!(entry.check(member, NOW_S), Ok(()));
        assert_eq!(entry.check(member, NOW_S + 1), Err(TicketFault::Ended));
        assert_eq!(entry.check(other, NOW_S), Err(TicketFault::NotTheirs));
        let without = RoomEntry { ticket: None, ..entry };
        assert_eq!(without.check(member, NOW_S), Err(TicketFault::Missing));
        // Of another room of the same maker, by another's word, and with a later day.
        let elsewhere = Invitation::kept_by(&maker(), RoomSecret([0x5b; 16]));
        let entry_elsewhere = elsewhere.with(entry.ticket).entry();
        assert_eq!(entry_elsewhere.check(member, NOW_S), Err(TicketFault::NotTheirs));
        let thief = Identity::from_seed(&[2; 32]);
        let forged = RoomTicket::new(&thief, entry.pass.room(), member, NOW_S + 1);
        let forged = RoomEntry { ticket: Some(forged), ..entry };
        assert_eq!(forged.check(member, NOW_S), Err(TicketFault::NotTheirs));
        let ticket = entry.ticket.map(|it| RoomTicket { until_s: it.until_s + 1, ..it });
        let longer = RoomEntry { ticket, ..entry };
        assert_eq!(longer.check(member, NOW_S), Err(TicketFault::NotTheirs));
        // The thief's own list makes another room of it.
        let theirs = Invitation::kept_by(&thief, SECRET);
        assert_ne!(theirs.room(), entry.pass.room());
        assert!(theirs.keeper_of(&maker()).is_none());
        assert_eq!(Invitation::from(SECRET).entry().check(other, NOW_S), Ok(()), "no list at all");
    }

    #[test]
    fn members_take_signals_of_members_only() {
        let (alice, bob) = (Identity::from_seed(&[5; 32]), NodeId([6; 32]));
        let room = kept(alice.node(), NOW_S + 1);
        let signal = || Signal::Offer { sdp: "v=0".to_owned() };
        let seal = room.seal();
        let signed = SignedSignal::new(&alice, bob, signal(), Some(&seal));
        let from = alice.node();
        assert!(!room.is_signal(&signed, from, bob, NOW_S), "it has the secret, and no pass");
        let shown = signed.clone().showing(room.ticket);
        assert!(room.is_signal(&shown, from, bob, NOW_S));
        assert!(!room.is_signal(&shown, from, bob, NOW_S + 1), "its day is over");
        let mallory = Identity::from_seed(&[7; 32]);
        let stolen = SignedSignal::new(&mallory, bob, signal(), Some(&seal)).showing(room.ticket);
        assert!(!room.is_signal(&stolen, mallory.node(), bob, NOW_S), "another's pass");
        let open = Invitation::from(SECRET);
        assert!(open.is_signal(&signed, from, bob, NOW_S), "a room without a list");
        let public = SignedSignal::new(&alice, bob, signal(), None).showing(room.ticket);
        assert!(!room.is_signal(&public, from, bob, NOW_S), "a pass without the secret");
    }
}
