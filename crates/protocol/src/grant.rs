//! Grants: a person's yes to lending a machine, signed by its node, with what it is for and its end.
//!
//! The click (or `--accept`) makes one. The node keeps it, looks at it before every download and
//! every step that it computes, and shows it; the server sees it before it assigns anything. A node
//! without a grant that holds computes nothing for others.
//!
//! What a grant says is checked here, by pure functions, so that page, widget, native node and server
//! cannot disagree about it. [`crate::consent`] says it in words and in the fields of ISO/IEC TS 27560.

use serde::{Deserialize, Serialize};

use crate::id::{GrantId, ModelId, NodeId, SiteKey};
use crate::identity::{Identity, Purpose, Signature, verify};
use crate::limits::{MAX_MODELS, MAX_ORIGIN_BYTES};

/// Days that a grant may hold: nobody remembers for longer what they agreed to.
pub const MAX_GRANT_DAYS: u16 = 90;
/// The same, seconds.
pub const MAX_GRANT_S: u64 = MAX_GRANT_DAYS as u64 * DAY_S;
/// Seconds of a day.
pub const DAY_S: u64 = 24 * 60 * 60;
/// How far the clock of a node may be ahead of the server's, seconds. Clocks at home are off by
/// minutes; one that is off by more would carry the end of a grant away with it.
pub const CLOCK_TOLERANCE_S: u64 = 60 * 60;

/// What a person agreed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its name.
    pub id: GrantId,
    /// The node that lends.
    pub node: NodeId,
    /// The server it is lent to: `scheme://authority` as the node dials it, at most
    /// [`MAX_ORIGIN_BYTES`].
    pub to: String,
    /// Where the person said yes.
    pub place: Place,
    /// What may be computed.
    pub models: GrantedModels,
    /// How much of the machine, and when.
    pub limits: Limits,
    /// When it was given, seconds since 1970.
    pub given_s: u64,
    /// When it ends, seconds since 1970; at most [`MAX_GRANT_S`] after it was given.
    pub until_s: u64,
}

/// What a person says yes to, before there is a grant of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Where they are asked.
    pub place: Place,
    /// What may be computed.
    pub models: GrantedModels,
    /// How much of the machine, and when.
    pub limits: Limits,
    /// For how many days, 1 to [`MAX_GRANT_DAYS`].
    pub days: u16,
}

impl Default for Terms {
    /// What a visitor of the page is asked for.
    fn default() -> Self {
        Self {
            place: Place::Page,
            models: GrantedModels::All,
            limits: Limits::default(),
            days: MAX_GRANT_DAYS,
        }
    }
}

impl Terms {
    /// The grant of `node` to the server `to`, given `given_s` seconds since 1970; without a name
    /// before it is signed.
    #[must_use]
    pub fn grant(self, node: NodeId, to: String, given_s: u64) -> Grant {
        let Self { place, models, limits, days } = self;
        let until_s = given_s.saturating_add(u64::from(days) * DAY_S);
        Grant { id: GrantId([0; 16]), node, to, place, models, limits, given_s, until_s }
    }
}

/// Where a person said yes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// On the swarm's own page.
    #[default]
    Page,
    /// In the widget on somebody's site.
    Widget {
        /// The site, as it is registered with the server.
        site: SiteKey,
    },
    /// On the command line.
    Native,
}

/// The models that may be computed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantedModels {
    /// Whatever the server serves.
    #[default]
    All,
    /// These only, at most [`MAX_MODELS`].
    These(Vec<ModelId>),
}

impl GrantedModels {
    /// Whether `model` is one of them.
    #[must_use]
    pub fn allow(&self, model: ModelId) -> bool {
        match self {
            Self::All => true,
            Self::These(models) => models.contains(&model),
        }
    }
}

/// How much of the machine is lent, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Share of the time that the processor may compute, 1 to 100.
    pub processor_percent: u8,
    /// Share of the time that the GPU may compute, 1 to 100.
    pub gpu_percent: u8,
    /// Memory for weights and sessions, bytes.
    pub memory_bytes: u64,
    /// What may be fetched and sent for lending in a day, bytes.
    pub data_bytes_a_day: u64,
    /// What the machine may run on.
    pub power: Power,
    /// Go on while the page is hidden.
    pub when_hidden: bool,
    /// Go on over a connection that is paid by the amount.
    pub on_metered: bool,
    /// Lend a phone.
    pub on_phone: bool,
    /// Pause after so many minutes, until the person extends. `None`: not before the grant ends.
    pub minutes: Option<u32>,
}

/// What a lent machine may run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    /// Battery as well.
    Any,
    /// The mains only, where that can be known.
    #[default]
    MainsOnly,
}

/// Of GPU and processor: a third of the time leaves a game, a call or a scroll its frames, and a fan
/// its quiet.
pub const DEFAULT_PERCENT: u8 = 30;
/// Enough for a good part of a small model, on a machine that has eight times as much.
pub const DEFAULT_MEMORY_BYTES: u64 = 1 << 30;
/// The weights that fit into the default memory, once, and as much again for the work itself.
pub const DEFAULT_DATA_BYTES_A_DAY: u64 = 2 << 30;
/// A visit's length. Who stays longer is asked again.
pub const DEFAULT_MINUTES: u32 = 30;

impl Default for Limits {
    /// What a visitor of a page is asked for: no more than anybody would lend without a thought.
    fn default() -> Self {
        Self {
            processor_percent: DEFAULT_PERCENT,
            gpu_percent: DEFAULT_PERCENT,
            memory_bytes: DEFAULT_MEMORY_BYTES,
            data_bytes_a_day: DEFAULT_DATA_BYTES_A_DAY,
            // A battery is there for when there is no mains.
            power: Power::MainsOnly,
            // Out of sight, it would go on without anybody knowing.
            when_hidden: false,
            // It would cost money.
            on_metered: false,
            // They are small, warm, and on a battery.
            on_phone: false,
            minutes: Some(DEFAULT_MINUTES),
        }
    }
}

impl Limits {
    /// What a native node lends unless told otherwise: whoever types the command does so on a machine
    /// of their own, and stops it the same way.
    #[must_use]
    pub fn native() -> Self {
        Self {
            processor_percent: 100,
            gpu_percent: 100,
            memory_bytes: 2 << 30,
            data_bytes_a_day: 20 << 30,
            power: Power::Any,
            when_hidden: true,
            on_metered: true,
            on_phone: true,
            minutes: None,
        }
    }

    /// Whether these are limits that anything can be computed within.
    ///
    /// # Errors
    /// Which one is not.
    pub fn check(&self) -> Result<(), GrantFault> {
        for (what, percent) in
            [("the processor", self.processor_percent), ("the GPU", self.gpu_percent)]
        {
            if !(1..=100).contains(&percent) {
                return Err(GrantFault::Percent { what, percent });
            }
        }
        let amounts = [
            ("memory", self.memory_bytes),
            ("data a day", self.data_bytes_a_day),
            ("minutes", self.minutes.map_or(1, u64::from)),
        ];
        match amounts.into_iter().find(|(_, amount)| *amount == 0) {
            Some((what, _)) => Err(GrantFault::Nothing { what }),
            None => Ok(()),
        }
    }
}

/// Why a grant does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantFault {
    /// The signature is not its node's, or what was signed has been changed.
    #[error("the grant is not signed by the node that it names; lend again to make another")]
    NotSigned,
    /// It names another node.
    #[error("the grant is another node's; lend again to make one of your own")]
    OtherNode,
    /// It was given to another server.
    #[error("the grant was given to another server; lend again to make one for this one")]
    OtherServer,
    /// It has ended.
    #[error("the grant has ended; lend again to give another")]
    Ended,
    /// It was given later than now.
    #[error(
        "the grant was given in the future: a clock is wrong by more than {} minutes. Set it, and lend \
         again",
        CLOCK_TOLERANCE_S / 60
    )]
    FromTheFuture,
    /// It holds for longer than any may, or ends before it begins.
    #[error("the grant is for more than {MAX_GRANT_DAYS} days, or for none; lend again for less")]
    Duration,
    /// A share of the machine that there is not.
    #[error("the grant gives {percent} % of {what}; it has to be 1 to 100 %")]
    Percent {
        /// Of what.
        what: &'static str,
        /// How much.
        percent: u8,
    },
    /// Something without which nothing can be computed.
    #[error("the grant gives no {what}, and nothing can be computed without")]
    Nothing {
        /// What is missing.
        what: &'static str,
    },
    /// It names more models, or a longer address, than it may.
    #[error("the grant is too long: at most {MAX_MODELS} models, and an address of a server")]
    TooLong,
    /// The model is not among those it names.
    #[error("the grant is not for this model")]
    OtherModel,
    /// There is none.
    #[error("nobody has lent this machine")]
    Missing,
}

impl Grant {
    /// Whether it may be acted on by `node` for the server `to`, `now_s` seconds since 1970.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, to: &str, node: NodeId, now_s: u64) -> Result<(), GrantFault> {
        let named = match &self.models {
            GrantedModels::All => 0,
            GrantedModels::These(models) if models.is_empty() => {
                return Err(GrantFault::Nothing { what: "model" });
            }
            GrantedModels::These(models) => models.len(),
        };
        if named > MAX_MODELS || self.to.len() > MAX_ORIGIN_BYTES {
            return Err(GrantFault::TooLong);
        }
        if self.node != node {
            return Err(GrantFault::OtherNode);
        }
        if self.to != to {
            return Err(GrantFault::OtherServer);
        }
        if self.until_s <= self.given_s || self.until_s - self.given_s > MAX_GRANT_S {
            return Err(GrantFault::Duration);
        }
        self.limits.check()?;
        self.holds_at(now_s)
    }

    /// Whether it holds `now_s` seconds since 1970.
    ///
    /// # Errors
    /// If it has ended, or has not begun.
    pub fn holds_at(&self, now_s: u64) -> Result<(), GrantFault> {
        if now_s >= self.until_s {
            return Err(GrantFault::Ended);
        }
        if self.given_s > now_s.saturating_add(CLOCK_TOLERANCE_S) {
            return Err(GrantFault::FromTheFuture);
        }
        Ok(())
    }

    /// Whether a step of `model` may be computed `now_s` seconds since 1970.
    ///
    /// # Errors
    /// Why not.
    pub fn allows(&self, model: ModelId, now_s: u64) -> Result<(), GrantFault> {
        self.holds_at(now_s)?;
        if self.models.allow(model) { Ok(()) } else { Err(GrantFault::OtherModel) }
    }
}

/// A grant that its node signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedGrant {
    /// What was agreed to.
    pub grant: Grant,
    /// The node's, over the grant in the crate's one encoding.
    pub signature: Signature,
}

impl SignedGrant {
    /// Signs `grant` as the node `identity`, and names it: the name that it comes with is replaced.
    ///
    /// A signature cannot be foreseen without the key, and differs for everything that is signed, so
    /// the name is drawn from one: nobody needs randomness here.
    #[must_use]
    pub fn new(identity: &Identity, mut grant: Grant) -> Self {
        grant.id = GrantId([0; 16]);
        let drawn = identity.sign(Purpose::Grant, &crate::encoding::encode(&grant));
        grant.id.0.copy_from_slice(&blake3::hash(&drawn.0).as_bytes()[..16]);
        let signature = identity.sign(Purpose::Grant, &crate::encoding::encode(&grant));
        Self { grant, signature }
    }

    /// True if the node that it names signed it.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        let bytes = crate::encoding::encode(&self.grant);
        verify(self.grant.node, Purpose::Grant, &bytes, &self.signature)
    }

    /// As [`Grant::check`], and whether it is signed.
    ///
    /// # Errors
    /// Why it may not be acted on.
    pub fn check(&self, to: &str, node: NodeId, now_s: u64) -> Result<(), GrantFault> {
        self.grant.check(to, node, now_s)?;
        if self.is_signed() { Ok(()) } else { Err(GrantFault::NotSigned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "https://potluck.example";
    const NOW_S: u64 = 1_800_000_000;

    fn node() -> Identity {
        Identity::from_seed(&[1; 32])
    }

    fn grant() -> Grant {
        Grant {
            id: GrantId([0; 16]),
            node: node().node(),
            to: SERVER.to_owned(),
            place: Place::Page,
            models: GrantedModels::These(vec![ModelId([3; 32])]),
            limits: Limits::default(),
            given_s: NOW_S - 10,
            until_s: NOW_S - 10 + MAX_GRANT_S,
        }
    }

    fn checked(change: impl FnOnce(&mut Grant)) -> Result<(), GrantFault> {
        let mut grant = grant();
        change(&mut grant);
        SignedGrant::new(&node(), grant).check(SERVER, node().node(), NOW_S)
    }

    #[test]
    fn a_grant_holds_for_its_node_its_server_its_time_and_within_the_limits() {
        assert_eq!(checked(|_| {}), Ok(()));
        assert_eq!(checked(|it| it.to.push('x')), Err(GrantFault::OtherServer));
        assert_eq!(checked(|it| it.until_s += 1), Err(GrantFault::Duration));
        assert_eq!(checked(|it| it.until_s = it.given_s), Err(GrantFault::Duration));
        assert_eq!(checked(|it| it.until_s = 0), Err(GrantFault::Duration));
        assert_eq!(checked(|it| it.until_s = NOW_S), Err(GrantFault::Ended));
        assert_eq!(checked(|it| it.until_s = NOW_S + 1), Ok(()));
        let ahead = |by: u64| {
            checked(move |it| {
                it.given_s = NOW_S + by;
                it.until_s = it.given_s + DAY_S;
            })
        };
        assert_eq!(ahead(CLOCK_TOLERANCE_S), Ok(()));
        assert_eq!(ahead(CLOCK_TOLERANCE_S + 1), Err(GrantFault::FromTheFuture));
        assert_eq!(
            checked(|it| it.given_s = u64::MAX).and(checked(|it| it.until_s = u64::MAX)),
            Err(GrantFault::Duration)
        );
        for percent in [0, 101, 255] {
            let what = "the GPU";
            let fault = Err(GrantFault::Percent { what, percent });
            assert_eq!(checked(|it| it.limits.gpu_percent = percent), fault);
            let what = "the processor";
            let fault = Err(GrantFault::Percent { what, percent });
            assert_eq!(checked(|it| it.limits.processor_percent = percent), fault);
        }
        let nothing = |what| Err(GrantFault::Nothing { what });
        assert_eq!(checked(|it| it.limits.memory_bytes = 0), nothing("memory"));
        assert_eq!(checked(|it| it.limits.data_bytes_a_day = 0), nothing("data a day"));
        assert_eq!(checked(|it| it.limits.minutes = Some(0)), nothing("minutes"));
        assert_eq!(checked(|it| it.limits.minutes = None), Ok(()));
        assert_eq!(checked(|it| it.models = GrantedModels::These(vec![])), nothing("model"));
        let many = GrantedModels::These(vec![ModelId([3; 32]); MAX_MODELS + 1]);
        assert_eq!(checked(|it| it.models = many), Err(GrantFault::TooLong));
        assert_eq!(
            checked(|it| it.to = "x".repeat(MAX_ORIGIN_BYTES + 1)),
            Err(GrantFault::TooLong)
        );
    }

    #[test]
    fn only_its_node_can_make_it_and_nobody_can_change_it() {
        let (me, other) = (node(), Identity::from_seed(&[2; 32]));
        let signed = SignedGrant::new(&me, grant());
        assert_eq!(signed.check(SERVER, other.node(), NOW_S), Err(GrantFault::OtherNode));
        let forged = SignedGrant::new(&other, grant());
        assert_eq!(forged.check(SERVER, me.node(), NOW_S), Err(GrantFault::NotSigned));
        let changes: [fn(&mut Grant); 8] = [
            |it| it.id.0[0] ^= 1,
            |it| it.place = Place::Native,
            |it| it.models = GrantedModels::All,
            |it| it.limits.gpu_percent = 100,
            |it| it.limits.memory_bytes += 1,
            |it| it.limits.minutes = None,
            |it| it.given_s += 1,
            |it| it.until_s -= 1,
        ];
        for change in changes {
            let mut changed = signed.clone();
            change(&mut changed.grant);
            let checked = changed.check(SERVER, me.node(), NOW_S);
            assert_eq!(checked, Err(GrantFault::NotSigned), "{:?}", changed.grant);
        }
    }

    #[test]
    fn a_grant_is_named_by_its_node_and_what_it_says() {
        let named = SignedGrant::new(&node(), grant()).grant.id;
        assert_ne!(named, GrantId([0; 16]));
        assert_eq!(SignedGrant::new(&node(), grant()).grant.id, named);
        let later = Grant { given_s: NOW_S, ..grant() };
        assert_ne!(SignedGrant::new(&node(), later).grant.id, named);
        assert_ne!(SignedGrant::new(&Identity::from_seed(&[2; 32]), grant()).grant.id, named);
    }

    #[test]
    fn a_step_needs_a_grant_that_holds_for_its_model() {
        let (grant, model) = (grant(), ModelId([3; 32]));
        assert_eq!(grant.allows(model, NOW_S), Ok(()));
        assert_eq!(grant.allows(ModelId([4; 32]), NOW_S), Err(GrantFault::OtherModel));
        assert_eq!(grant.allows(model, grant.until_s - 1), Ok(()));
        assert_eq!(grant.allows(model, grant.until_s), Err(GrantFault::Ended));
        // A clock that was set back by days brings no grant back to life, nor one before its time.
        assert_eq!(grant.allows(model, NOW_S - DAY_S), Err(GrantFault::FromTheFuture));
        let all = Grant { models: GrantedModels::All, ..grant };
        assert_eq!(all.allows(ModelId([4; 32]), NOW_S), Ok(()));
    }

    #[test]
    fn the_defaults_are_limits_that_hold() {
        assert_eq!(Limits::default().check(), Ok(()));
        assert_eq!(Limits::native().check(), Ok(()));
    }
}
