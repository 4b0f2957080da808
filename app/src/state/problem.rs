//! What went wrong, for the one card that says so: what happened, whether anything was lost, what to
//! do.

use crate::say;

/// Something went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What, whether anything was lost, what to do.
    pub text: String,
    /// Loading the page anew is what to do.
    pub wants_reload: bool,
}

impl Problem {
    /// Something that a reload would not mend.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), wants_reload: false }
    }

    /// The server has said for good that it does not want this tab.
    pub(super) fn refused(reason: &str) -> Self {
        let text = say!("problem-refused", reason = trim_stop(reason));
        Self { text, wants_reload: true }
    }

    /// The worker broke, or could not be started.
    pub(super) fn worker_failed(reason: &str) -> Self {
        Self::new(&say!("problem-worker", reason = trim_stop(reason)))
    }

    /// The server has another page by now, without what this one would start.
    pub(super) fn old_page() -> Self {
        Self { text: say!("problem-old"), wants_reload: true }
    }
}

/// Without the full stop that the sentence around it brings.
fn trim_stop(reason: &str) -> &str {
    reason.trim_end_matches('.')
}
