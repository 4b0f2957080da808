//! The page's own senses: what a browser tells of the machine that it runs on. They are asked only
//! while this computer is lent.
//!
//! | file | what | where |
//! |---|---|---|
//! | `visibility` | whether the page is to be seen | everywhere |
//! | `battery` | whether the machine charges | Chromium |
//! | `connection` | Save-Data, and what kind of connection it is | Chromium |
//! | `pressure` | how much the machine has to do | Chromium |
//! | `frames` | whether the page is drawn in time | everywhere |
//! | `phone` | whether it is one | everywhere |
//! | `wake_lock` | keeps the screen on, only if asked to | nearly everywhere |
//!
//! A browser without one of them says nothing about it, and nothing is concluded from that. Each file
//! is thin: what a reading means is decided in `state::sensing` and in [`frames::Frames`].

mod battery;
mod connection;
mod draw;
pub mod frames;
mod phone;
mod pressure;
mod property;
mod visibility;
mod wake_lock;

use yew::Callback;

use crate::state::Action;
use crate::state::sensing::Sensed;
pub use wake_lock::WakeLock;

/// Senses that are on; dropping them turns them off.
pub struct Sensors {
    _visibility: visibility::Visibility,
    _battery: battery::Battery,
    _connection: Option<connection::Connection>,
    _pressure: Option<pressure::Pressure>,
    _draw: draw::Draw,
}

impl core::fmt::Debug for Sensors {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sensors")
    }
}

impl Sensors {
    /// Turns them on. What can be known at once is reported before this returns.
    #[must_use]
    pub fn start(dispatch: &Callback<Action>) -> Self {
        let report = dispatch.reform(Action::Sensed);
        report.emit(Sensed::Phone(phone::is_phone()));
        Self {
            _visibility: visibility::Visibility::start(report.clone()),
            _battery: battery::Battery::start(report.clone()),
            _connection: connection::Connection::start(report.clone()),
            _pressure: pressure::Pressure::start(report.clone()),
            _draw: draw::Draw::start(report),
        }
    }
}
