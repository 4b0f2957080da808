//! How the page hears what the server knows: pushed while the page is seen, fetched now and then
//! where pushing does not work, and nothing while nobody looks.
//!
//! ```text
//!  Hidden ──Shown──▶ Pushed ──Ended──▶ Fetched ──a minute later──▶ Pushed
//! ```
//! A stream that only broke is the browser's to mend; it has ended when the server refuses it.

/// How the page hears just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Feed {
    /// Nobody looks: not at all.
    #[default]
    Hidden,
    /// The server pushes what changed.
    Pushed,
    /// The page asks again and again.
    Fetched {
        /// How often it has.
        times: u32,
    },
}

/// What happens to the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedEvent {
    /// The page can be seen.
    Shown,
    /// The page cannot be seen any more.
    Hidden,
    /// The stream is over for good.
    Ended,
    /// The time that was to be waited is over.
    Due,
}

/// What is to be done about it, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedAction {
    /// Open the stream.
    Open,
    /// Close the stream, and wait for nothing.
    Close,
    /// Fetch once what would have been pushed.
    Fetch,
    /// Report [`FeedEvent::Due`] after so many milliseconds.
    Wait(u32),
}

/// Time between two fetches, milliseconds. Mostly the server answers that nothing has changed.
pub const FETCH_MS: u32 = 10_000;
/// After so many fetches the stream is tried again: a minute, as the server asks for.
const FETCHES: u32 = 6;

impl Feed {
    /// Handles what happened.
    pub fn handle(&mut self, event: FeedEvent) -> Vec<FeedAction> {
        let (next, actions) = match (*self, event) {
            (Self::Hidden, FeedEvent::Shown) => (Self::Pushed, vec![FeedAction::Open]),
            (Self::Pushed | Self::Fetched { .. }, FeedEvent::Hidden) => {
                (Self::Hidden, vec![FeedAction::Close])
            }
            (Self::Pushed, FeedEvent::Ended) => {
                let actions = [FeedAction::Close, FeedAction::Fetch, FeedAction::Wait(FETCH_MS)];
                (Self::Fetched { times: 1 }, actions.to_vec())
            }
            (Self::Fetched { times }, FeedEvent::Due) if times < FETCHES => (
                Self::Fetched { times: times + 1 },
                vec![FeedAction::Fetch, FeedAction::Wait(FETCH_MS)],
            ),
            (Self::Fetched { .. }, FeedEvent::Due) => (Self::Pushed, vec![FeedAction::Open]),
            // What an earlier stream or wait still reports.
            (same, _) => (same, Vec::new()),
        };
        *self = next;
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_seen_is_told_and_one_that_is_not_costs_nothing() {
        let mut feed = Feed::default();
        assert_eq!(feed.handle(FeedEvent::Due), []);
        assert_eq!(feed.handle(FeedEvent::Shown), [FeedAction::Open]);
        assert_eq!(feed.handle(FeedEvent::Shown), [], "one stream at a time");
        assert_eq!(feed.handle(FeedEvent::Hidden), [FeedAction::Close]);
        assert_eq!(feed.handle(FeedEvent::Ended), [], "of the stream that was closed");
        assert_eq!(feed.handle(FeedEvent::Shown), [FeedAction::Open]);
    }

    #[test]
    fn a_refused_stream_is_made_up_for_by_fetching_and_tried_again() {
        let mut feed = Feed::default();
        feed.handle(FeedEvent::Shown);
        let fetch = [FeedAction::Fetch, FeedAction::Wait(FETCH_MS)];
        assert_eq!(feed.handle(FeedEvent::Ended), [&[FeedAction::Close][..], &fetch].concat());
        for _ in 1..FETCHES {
            assert_eq!(feed.handle(FeedEvent::Due), fetch);
        }
        assert_eq!(feed.handle(FeedEvent::Due), [FeedAction::Open]);
        assert_eq!(feed, Feed::Pushed);
        feed.handle(FeedEvent::Ended);
        assert_eq!(feed.handle(FeedEvent::Hidden), [FeedAction::Close]);
        assert_eq!(feed.handle(FeedEvent::Due), [], "nobody looks");
    }
}
