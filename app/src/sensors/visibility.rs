//! Whether the page is to be seen: another tab, a minimised window, a screen that is off.
//!
//! Source: <https://html.spec.whatwg.org/multipage/interaction.html#page-visibility>

use gloo::events::EventListener;
use gloo::utils::document;
use web_sys::VisibilityState;
use yew::Callback;

use crate::state::sensing::Sensed;

/// While it is there.
pub(super) struct Visibility {
    _listener: EventListener,
}

impl Visibility {
    pub(super) fn start(report: Callback<Sensed>) -> Self {
        let tell = move || {
            let is_hidden = document().visibility_state() == VisibilityState::Hidden;
            report.emit(Sensed::Hidden(is_hidden));
        };
        tell();
        Self { _listener: EventListener::new(&document(), "visibilitychange", move |_| tell()) }
    }
}
