//! What the page's senses report, put together as the node wants it. What follows from it is the
//! node's to decide.

use potluck_protocol::page::{Command, Conditions, Pressure};

use super::lending::Intent;
use super::{Effect, State};

/// One thing that was sensed.
#[derive(Clone, Debug, PartialEq)]
pub enum Sensed {
    /// Whether the page is to be seen.
    Hidden(bool),
    /// Whether the machine charges its battery or has none, where the browser says.
    Charging(bool),
    /// What the browser says of the connection.
    Connection {
        /// The person wants to save data.
        save_data: bool,
        /// `wifi`, `cellular`, …; `None` where the browser does not say.
        kind: Option<String>,
    },
    /// How much the machine has to do: `nominal`, `fair`, `serious` or `critical`.
    Pressure(String),
    /// Whether the page is drawn too late.
    DroppingFrames(bool),
    /// Whether this is a phone.
    Phone(bool),
}

impl Sensed {
    /// What is known of the machine with this; late frames are judged by [`State`].
    pub(super) fn apply(self, seen: &mut Conditions) {
        match self {
            Self::Hidden(hidden) => seen.hidden = hidden,
            Self::Charging(charging) => seen.on_battery = Some(!charging),
            Self::Connection { save_data, kind } => {
                seen.save_data = save_data;
                seen.metered = kind.as_deref().and_then(is_metered);
            }
            Self::Pressure(state) => {
                seen.pressure = match state.as_str() {
                    "fair" => Pressure::Fair,
                    "serious" => Pressure::Serious,
                    "critical" => Pressure::Critical,
                    // A word that is new to us pauses nothing.
                    _ => Pressure::Nominal,
                };
            }
            Self::DroppingFrames(_) => {}
            Self::Phone(phone) => seen.phone = phone,
        }
    }
}

/// Whether a connection of this kind, in the words of the Network Information API, is paid by the
/// amount. A phone's is, at home or abroad; of what a browser cannot tell, nobody knows.
fn is_metered(kind: &str) -> Option<bool> {
    match kind {
        "cellular" | "wimax" => Some(true),
        "ethernet" | "wifi" => Some(false),
        _ => None,
    }
}

/// Whether this is a phone: by its browser's own word where it gives one; otherwise it is touched
/// rather than pointed at, and its screen is a phone's.
#[must_use]
pub fn is_phone(says_mobile: Option<bool>, is_coarse: bool, shorter_side_px: f64) -> bool {
    says_mobile.unwrap_or(is_coarse && shorter_side_px < SMALLEST_TABLET_PX)
}

/// The shorter side of the smallest tablets, CSS pixels; the largest phones have about 480.
const SMALLEST_TABLET_PX: f64 = 600.0;

impl State {
    pub(super) fn sensed(&mut self, sensed: Sensed) -> Vec<Effect> {
        let before = self.volunteer.seen;
        if let Sensed::DroppingFrames(is_drawn_late) = sensed {
            self.volunteer.is_drawn_late = is_drawn_late;
            return self.judge_frames();
        }
        sensed.apply(&mut self.volunteer.seen);
        if self.volunteer.seen == before || self.volunteer.intent != Intent::Yes {
            return Vec::new();
        }
        self.tell_conditions()
    }

    /// Late frames are held against lending only from a moment on at which something is computed for
    /// others, and until they come in time again: a page may have troubles of its own.
    pub(super) fn judge_frames(&mut self) -> Vec<Effect> {
        let volunteer = &mut self.volunteer;
        let seen = &mut volunteer.seen.dropping_frames;
        let is_ours = *seen || volunteer.lending.sessions > 0;
        let is_dropping = volunteer.is_drawn_late && is_ours;
        if std::mem::replace(seen, is_dropping) == is_dropping || volunteer.intent != Intent::Yes {
            return Vec::new();
        }
        self.tell_conditions()
    }

    /// Tells the node, before it begins, what was seen so far.
    pub(super) fn tell_conditions(&self) -> Vec<Effect> {
        vec![Effect::Send(Command::Conditions(self.volunteer.seen))]
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::page::{Lending, LendingPhase};

    use super::*;

    fn seen(all: impl IntoIterator<Item = Sensed>) -> Conditions {
        let mut seen = Conditions::default();
        for sensed in all {
            sensed.apply(&mut seen);
        }
        seen
    }

    fn connection(save_data: bool, kind: Option<&str>) -> Sensed {
        Sensed::Connection { save_data, kind: kind.map(str::to_owned) }
    }

    #[test]
    fn a_browser_without_senses_sees_nothing_that_pauses() {
        assert_eq!(seen([]), Conditions::default());
        let unknown = seen([connection(false, None), Sensed::Pressure("dire".to_owned())]);
        assert_eq!(unknown, Conditions::default());
        assert_eq!(seen([connection(false, Some("unknown"))]).metered, None);
    }

    #[test]
    fn every_sense_has_its_place_and_the_last_word() {
        let all = seen([
            Sensed::Hidden(true),
            Sensed::Charging(false),
            connection(true, Some("cellular")),
            Sensed::Pressure("serious".to_owned()),
            Sensed::Phone(true),
        ]);
        let expected = Conditions {
            hidden: true,
            on_battery: Some(true),
            save_data: true,
            metered: Some(true),
            pressure: Pressure::Serious,
            dropping_frames: false,
            phone: true,
        };
        assert_eq!(all, expected);
        let after = seen([Sensed::Charging(false), Sensed::Charging(true)]);
        assert_eq!(after.on_battery, Some(false));
        let back = seen([connection(true, Some("cellular")), connection(false, Some("wifi"))]);
        assert_eq!((back.save_data, back.metered), (false, Some(false)));
        for (word, pressure) in [
            ("nominal", Pressure::Nominal),
            ("fair", Pressure::Fair),
            ("critical", Pressure::Critical),
        ] {
            assert_eq!(seen([Sensed::Pressure(word.to_owned())]).pressure, pressure);
        }
    }

    #[test]
    fn late_frames_count_once_something_is_computed_and_until_they_are_in_time() {
        let mut state = State::default();
        state.volunteer.intent = Intent::Yes;
        let told = |dropping_frames| {
            let seen = Conditions { dropping_frames, ..Conditions::default() };
            vec![Effect::Send(Command::Conditions(seen))]
        };
        assert_eq!(state.sensed(Sensed::DroppingFrames(true)), vec![], "nobody asks");
        let lending =
            |sessions| Lending { phase: LendingPhase::Serving, sessions, ..Lending::default() };
        assert_eq!(state.lending(lending(0)), vec![]);
        assert_eq!(state.lending(lending(1)), told(true));
        // The pause ends what was computed, and not the lateness.
        assert_eq!(state.lending(lending(0)), vec![]);
        assert_eq!(state.sensed(Sensed::DroppingFrames(false)), told(false));
        assert_eq!(state.lending(lending(1)), vec![]);
    }

    #[test]
    fn what_is_sensed_is_told_once_and_only_to_a_node_that_lends() {
        let mut state = State::default();
        assert_eq!(state.sensed(Sensed::Hidden(true)), vec![]);
        state.volunteer.intent = Intent::Yes;
        assert_eq!(state.sensed(Sensed::Hidden(true)), vec![], "nothing new");
        let seen = Conditions::default();
        let told = vec![Effect::Send(Command::Conditions(seen))];
        assert_eq!(state.sensed(Sensed::Hidden(false)), told);
    }

    #[test]
    fn a_phone_is_one_by_its_browsers_word_or_by_touch_and_size() {
        assert!(is_phone(Some(true), false, 1_440.0));
        assert!(!is_phone(Some(false), true, 390.0), "a tablet's browser that says it is none");
        assert!(is_phone(None, true, 390.0));
        assert!(!is_phone(None, true, 768.0), "a tablet");
        assert!(!is_phone(None, false, 390.0), "a narrow window");
    }
}
