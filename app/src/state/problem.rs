//! What went wrong, for the one card that says so: what happened, whether anything was lost, what to
//! do.

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
        let text = format!(
            "The server refused this tab: {}. Nothing is lent or asked any more; credit already given is safe. \
             Reload the page, then try again.",
            trim_stop(reason)
        );
        Self { text, wants_reload: true }
    }

    /// The worker broke, or could not be started.
    pub(super) fn worker_failed(reason: &str) -> Self {
        Self::new(&format!(
            "The part of this page that computes stopped: {}. Nothing is lent any more; credit already given is \
             safe, an unfinished answer is lost. Start again with the button you pressed.",
            trim_stop(reason)
        ))
    }

    /// The server has another page by now, without what this one would start.
    pub(super) fn old_page() -> Self {
        let text = "This page is old: the server has a newer one, and what this one would start is gone. \
                    Nothing was started, and credit already given is safe. Reload the page, then try again.";
        Self { text: text.to_owned(), wants_reload: true }
    }
}

/// Without the full stop that the sentence around it brings.
fn trim_stop(reason: &str) -> &str {
    reason.trim_end_matches('.')
}
