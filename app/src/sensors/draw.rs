//! Asks for every frame that the browser draws; it draws none of a page that is not to be seen.

use std::cell::RefCell;
use std::rc::Rc;

use gloo::render::{AnimationFrame, request_animation_frame};
use yew::Callback;

use super::frames::Frames;
use crate::state::sensing::Sensed;

/// While it is there.
pub(super) struct Draw {
    _loop: Rc<Loop>,
}

struct Loop {
    frames: RefCell<Frames>,
    next: RefCell<Option<AnimationFrame>>,
    report: Callback<Sensed>,
}

impl Draw {
    pub(super) fn start(report: Callback<Sensed>) -> Self {
        let frames = RefCell::new(Frames::default());
        let this = Rc::new(Loop { frames, next: RefCell::new(None), report });
        this.ask();
        Self { _loop: this }
    }
}

impl Loop {
    fn ask(self: &Rc<Self>) {
        // Weak, so that dropping the sense ends the loop.
        let this = Rc::downgrade(self);
        let frame = request_animation_frame(move |now_ms| {
            let Some(this) = this.upgrade() else { return };
            let judged = this.frames.borrow_mut().frame(now_ms);
            this.ask();
            if let Some(is_dropping) = judged {
                this.report.emit(Sensed::DroppingFrames(is_dropping));
            }
        });
        // The one before has been drawn.
        drop(self.next.replace(Some(frame)));
    }
}
