//! Whether this machine computes now, and if not, why: from what its volunteer allows, what is seen
//! of the machine, and the time. Pure, and asked with everything that happens.
//!
//! A reason counts at once: the machine is somebody's, and they notice. What wavers (a plug, a
//! window, a busy processor) has to be over for a while before anything goes on, and for longer if
//! it was our own work that brought it back: else the machine would be paused and woken in turns.

use std::time::Duration;

use potluck_protocol::grant::{Limits, Power};
use potluck_protocol::page::{Conditions, PauseReason, Pressure};

/// What is known, and since when.
#[derive(Debug)]
pub(super) struct Pauses {
    limits: Limits,
    is_asked: bool,
    /// When the minutes that were agreed on are over.
    until: Option<Duration>,
    /// The day's bytes are used up.
    is_out_of_data: bool,
    signs: [Sign; SIGNS.len()],
    conditions: Conditions,
}

/// Something seen of the machine that comes and goes.
#[derive(Clone, Copy, Debug, Default)]
struct Sign {
    is_there: bool,
    /// When it was there last, if it was.
    left: Option<Duration>,
    /// How often it came back soon after it had left.
    relapses: u32,
}

/// In the order in which they are told: what the person can change first.
const SIGNS: [PauseReason; 7] = [
    PauseReason::Phone,
    PauseReason::Hidden,
    PauseReason::Battery,
    PauseReason::SaveData,
    PauseReason::Metered,
    PauseReason::Pressure,
    PauseReason::Frames,
];

/// How long a window has to be in sight again: a glance at it while paging through others is none.
const IN_SIGHT: Duration = Duration::from_secs(1);
/// How long plug and network have to hold.
const PLUGGED_IN: Duration = Duration::from_secs(5);
/// How long a machine has to be at ease before work is added: as long as its pressure takes to show.
const AT_EASE: Duration = Duration::from_secs(15);
/// A sign that is back so soon after it counted no more came back with our own work.
const SOON: Duration = Duration::from_secs(120);
/// The wait doubles with each such relapse, so often at most: to four minutes.
const MOST_RELAPSES: u32 = 4;

impl Pauses {
    /// Of a machine that is lent within `limits` from `now` on.
    pub(super) fn new(limits: Limits, conditions: Conditions, now: Duration) -> Self {
        let mut this = Self {
            until: None,
            limits,
            is_asked: false,
            is_out_of_data: false,
            signs: Default::default(),
            conditions: Conditions::default(),
        };
        this.extend(now);
        this.sense(conditions, now);
        this
    }

    /// What is seen of the machine now.
    pub(super) fn sense(&mut self, conditions: Conditions, now: Duration) {
        self.conditions = conditions;
        for (sign, reason) in self.signs.iter_mut().zip(SIGNS) {
            let is_there = is_there(reason, &conditions, &self.limits);
            match (sign.is_there, is_there) {
                (false, true) => {
                    let over = sign.left.map(|left| left + sign.patience(reason) + SOON);
                    let is_relapse = over.is_some_and(|over| now < over);
                    sign.relapses =
                        if is_relapse { (sign.relapses + 1).min(MOST_RELAPSES) } else { 0 };
                }
                (true, false) => sign.left = Some(now),
                (true, true) | (false, false) => {}
            }
            sign.is_there = is_there;
        }
    }

    /// The person allows something else. Their minutes begin anew if it is these that changed.
    pub(super) fn set_limits(&mut self, limits: Limits, now: Duration) {
        let has_other_minutes = limits.minutes != self.limits.minutes;
        self.limits = limits;
        if has_other_minutes {
            self.extend(now);
        }
        // What is allowed now was never in the way: nothing is waited out.
        for (sign, reason) in self.signs.iter_mut().zip(SIGNS) {
            if sign.is_there && !is_there(reason, &self.conditions, &self.limits) {
                *sign = Sign::default();
            }
        }
        self.sense(self.conditions, now);
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The person wants a pause.
    pub(super) fn pause(&mut self) {
        self.is_asked = true;
    }

    /// The person wants to go on, and no wait for what is over already.
    pub(super) fn resume(&mut self) {
        self.is_asked = false;
        for sign in &mut self.signs {
            *sign = Sign { is_there: sign.is_there, ..Sign::default() };
        }
    }

    /// The minutes that were agreed on begin now.
    pub(super) fn extend(&mut self, now: Duration) {
        let minutes = self.limits.minutes;
        self.until = minutes.map(|minutes| now + Duration::from_secs(60 * u64::from(minutes)));
    }

    /// Whether the day's bytes are used up.
    pub(super) fn set_out_of_data(&mut self, is_out_of_data: bool) {
        self.is_out_of_data = is_out_of_data;
    }

    /// Why nothing is computed at `now`; `None` if something is.
    pub(super) fn why(&self, now: Duration) -> Option<PauseReason> {
        if self.is_asked {
            return Some(PauseReason::Asked);
        }
        if self.until.is_some_and(|until| now >= until) {
            return Some(PauseReason::TimeIsUp);
        }
        let mut signs = self.signs.iter().zip(SIGNS);
        if let Some((_, reason)) = signs.find(|(sign, reason)| sign.counts(*reason, now)) {
            return Some(reason);
        }
        self.is_out_of_data.then_some(PauseReason::DataBudget)
    }
}

impl Sign {
    fn counts(&self, reason: PauseReason, now: Duration) -> bool {
        self.is_there || self.left.is_some_and(|left| now < left + self.patience(reason))
    }

    /// How long it has to be away before it counts no more.
    fn patience(&self, reason: PauseReason) -> Duration {
        match reason {
            PauseReason::Hidden => IN_SIGHT,
            PauseReason::Battery | PauseReason::Metered => PLUGGED_IN,
            PauseReason::Pressure | PauseReason::Frames => AT_EASE * (1 << self.relapses),
            // These do not waver: somebody chose them.
            PauseReason::Phone
            | PauseReason::SaveData
            | PauseReason::Asked
            | PauseReason::TimeIsUp
            | PauseReason::DataBudget => Duration::ZERO,
        }
    }
}

/// Whether this is seen, and not allowed.
fn is_there(reason: PauseReason, seen: &Conditions, limits: &Limits) -> bool {
    match reason {
        PauseReason::Phone => seen.phone && !limits.on_phone,
        PauseReason::Hidden => seen.hidden && !limits.when_hidden,
        PauseReason::Battery => seen.on_battery == Some(true) && limits.power == Power::MainsOnly,
        PauseReason::SaveData => seen.save_data && !limits.on_metered,
        PauseReason::Metered => seen.metered == Some(true) && !limits.on_metered,
        PauseReason::Pressure => seen.pressure >= Pressure::Serious,
        PauseReason::Frames => seen.dropping_frames && !seen.hidden,
        PauseReason::Asked | PauseReason::TimeIsUp | PauseReason::DataBudget => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const FINE: Conditions = Conditions {
        hidden: false,
        on_battery: Some(false),
        save_data: false,
        metered: Some(false),
        pressure: Pressure::Nominal,
        dropping_frames: false,
        phone: false,
    };

    /// A sign, what it looks like, and the choice that it is allowed by, if there is one.
    type Case = (PauseReason, fn(&mut Conditions), Option<fn(&mut Limits)>);

    const CASES: [Case; 8] = [
        (PauseReason::Phone, |it| it.phone = true, Some(|it| it.on_phone = true)),
        (PauseReason::Hidden, |it| it.hidden = true, Some(|it| it.when_hidden = true)),
        (PauseReason::Battery, |it| it.on_battery = Some(true), Some(|it| it.power = Power::Any)),
        (PauseReason::SaveData, |it| it.save_data = true, Some(|it| it.on_metered = true)),
        (PauseReason::Metered, |it| it.metered = Some(true), Some(|it| it.on_metered = true)),
        (PauseReason::Pressure, |it| it.pressure = Pressure::Serious, None),
        (PauseReason::Pressure, |it| it.pressure = Pressure::Critical, None),
        (PauseReason::Frames, |it| it.dropping_frames = true, None),
    ];

    fn lent() -> Pauses {
        Pauses::new(Limits::default(), FINE, Duration::ZERO)
    }

    fn with(change: fn(&mut Conditions)) -> Conditions {
        let mut conditions = FINE;
        change(&mut conditions);
        conditions
    }

    #[test]
    fn every_sign_pauses_at_once_and_what_is_unknown_does_not() {
        for (reason, change, _) in CASES {
            let mut pauses = lent();
            assert_eq!(pauses.why(S), None);
            pauses.sense(with(change), S);
            assert_eq!(pauses.why(S), Some(reason));
            let at_start = Pauses::new(Limits::default(), with(change), Duration::ZERO);
            assert_eq!(at_start.why(Duration::ZERO), Some(reason), "before anything begins");
        }
        let unknown = Conditions { on_battery: None, metered: None, ..FINE };
        assert_eq!(Pauses::new(Limits::default(), unknown, S).why(S), None);
        let fair = Conditions { pressure: Pressure::Fair, ..FINE };
        assert_eq!(Pauses::new(Limits::default(), fair, S).why(S), None);
    }

    #[test]
    fn what_is_allowed_pauses_nothing_and_may_be_allowed_later() {
        for (reason, change, allow) in CASES {
            let Some(allow) = allow else { continue };
            let mut limits = Limits::default();
            allow(&mut limits);
            let pauses = Pauses::new(limits.clone(), with(change), Duration::ZERO);
            assert_eq!(pauses.why(S), None, "{reason:?}");
            let mut pauses = Pauses::new(Limits::default(), with(change), Duration::ZERO);
            assert_eq!(pauses.why(S), Some(reason));
            pauses.set_limits(limits, S);
            assert_eq!(pauses.why(S), None, "{reason:?}, at once");
            pauses.set_limits(Limits::default(), 2 * S);
            assert_eq!(pauses.why(2 * S), Some(reason), "and taken back at once");
        }
    }

    #[test]
    fn what_wavers_has_to_be_over_for_a_while() {
        for (reason, change, _) in CASES {
            let mut pauses = lent();
            pauses.sense(with(change), S);
            pauses.sense(FINE, 10 * S);
            let wait = match reason {
                PauseReason::Hidden => 1,
                PauseReason::Battery | PauseReason::Metered => 5,
                PauseReason::Pressure | PauseReason::Frames => 15,
                _ => 0,
            };
            if wait > 0 {
                let just_before = (10 + wait) * S - Duration::from_millis(1);
                assert_eq!(pauses.why(just_before), Some(reason));
            }
            assert_eq!(pauses.why((10 + wait) * S), None, "{reason:?}");
        }
    }

    #[test]
    fn a_sign_that_comes_back_with_our_work_is_waited_out_for_longer_each_time() {
        let (busy, mut now) = (Conditions { pressure: Pressure::Serious, ..FINE }, S);
        let mut pauses = lent();
        let mut waits = Vec::new();
        for _ in 0..7 {
            pauses.sense(busy, now);
            pauses.sense(FINE, now + S);
            let left = now + S;
            now = left;
            while pauses.why(now).is_some() {
                now += S;
            }
            waits.push((now - left).as_secs());
        }
        assert_eq!(waits, [15, 30, 60, 120, 240, 240, 240]);
        // Two quiet minutes, and it was something else.
        now += SOON + S;
        pauses.extend(now);
        pauses.sense(busy, now);
        pauses.sense(FINE, now);
        assert_eq!(pauses.why(now + AT_EASE), None);
    }

    #[test]
    fn the_person_ends_waits_but_not_what_is_still_so() {
        let mut pauses = lent();
        pauses.sense(with(|it| it.dropping_frames = true), S);
        pauses.sense(FINE, 2 * S);
        assert_eq!(pauses.why(3 * S), Some(PauseReason::Frames));
        pauses.resume();
        assert_eq!(pauses.why(3 * S), None);
        pauses.sense(with(|it| it.hidden = true), 4 * S);
        pauses.resume();
        assert_eq!(pauses.why(4 * S), Some(PauseReason::Hidden));
    }

    #[test]
    fn asked_for_it_lasts_until_asked_again() {
        let mut pauses = lent();
        pauses.pause();
        assert_eq!(pauses.why(S), Some(PauseReason::Asked));
        pauses.sense(with(|it| it.hidden = true), S);
        pauses.sense(FINE, 2 * S);
        assert_eq!(pauses.why(29 * 60 * S), Some(PauseReason::Asked));
        pauses.resume();
        assert_eq!(pauses.why(29 * 60 * S), None);
    }

    #[test]
    fn time_is_up_after_the_minutes_and_begins_anew_when_extended() {
        let mut pauses = lent();
        let end = 30 * 60 * S;
        assert_eq!(pauses.why(end - Duration::from_millis(1)), None);
        assert_eq!(pauses.why(end), Some(PauseReason::TimeIsUp));
        pauses.resume();
        assert_eq!(pauses.why(end), Some(PauseReason::TimeIsUp), "resuming is another button");
        pauses.extend(end + S);
        assert_eq!(pauses.why(2 * end), None);
        assert_eq!(pauses.why(2 * end + S), Some(PauseReason::TimeIsUp));
        pauses.set_limits(Limits { minutes: None, ..Limits::default() }, 2 * end + S);
        assert_eq!(pauses.why(1_000 * end), None);
        // Another limit does not give another half an hour.
        let mut pauses = lent();
        pauses.set_limits(Limits { gpu_percent: 10, ..Limits::default() }, end - S);
        assert_eq!(pauses.why(end), Some(PauseReason::TimeIsUp));
    }

    #[test]
    fn data_that_is_used_up_pauses_until_there_is_more() {
        let mut pauses = lent();
        pauses.set_out_of_data(true);
        assert_eq!(pauses.why(S), Some(PauseReason::DataBudget));
        pauses.resume();
        assert_eq!(pauses.why(S), Some(PauseReason::DataBudget), "whatever the person presses");
        pauses.set_out_of_data(false);
        assert_eq!(pauses.why(S), None);
    }

    #[test]
    fn a_hidden_page_that_may_go_on_draws_nothing_and_drops_nothing() {
        let limits = Limits { when_hidden: true, ..Limits::default() };
        let hidden = Conditions { hidden: true, dropping_frames: true, ..FINE };
        assert_eq!(Pauses::new(limits, hidden, S).why(S), None);
    }

    #[test]
    fn a_native_node_pauses_for_nothing_but_when_asked_or_under_pressure() {
        let all = Conditions {
            hidden: true,
            on_battery: Some(true),
            save_data: true,
            metered: Some(true),
            phone: true,
            ..FINE
        };
        let mut pauses = Pauses::new(Limits::native(), all, S);
        assert_eq!(pauses.why(1_000_000 * S), None);
        pauses.pause();
        assert_eq!(pauses.why(S), Some(PauseReason::Asked));
    }
}
