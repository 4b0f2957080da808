//! What the person sees of lending, and how often.

use std::time::Duration;

use potluck_protocol::page::{Lending, Notice};

use super::Volunteer;
use crate::node::context::{Context, Library, Traffic};

/// When the person sees what changed.
#[derive(Debug, Default)]
pub(super) struct Notices {
    due: Due,
    /// What the person sees, and since when.
    last: Option<(Lending, Duration)>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    #[default]
    No,
    /// If something changed and the last notice is long enough ago; the next tick asks again.
    Soon,
    /// For changes of phase.
    Now,
}

/// The person gets counters at most this often; faster than people read, slower than tokens come.
const NOTICE_EVERY: Duration = Duration::from_millis(250);

impl Notices {
    pub(super) fn ask_soon(&mut self) {
        self.due = self.due.max(Due::Soon);
    }

    pub(super) fn ask_now(&mut self) {
        self.due = Due::Now;
    }
}

impl Volunteer {
    /// Lets the person see what changed, if it is time. `sessions`: served now.
    pub(in crate::node) fn notify(&mut self, sessions: u32, context: &mut Context) {
        let due = std::mem::take(&mut self.notices.due);
        let is_recent = |(_, at): &(Lending, Duration)| context.now < *at + NOTICE_EVERY;
        if due == Due::No || due == Due::Soon && self.notices.last.as_ref().is_some_and(is_recent) {
            return;
        }
        let view = self.view(sessions, context.now, context.traffic, &context.library);
        if due == Due::Now || self.notices.last.as_ref().is_none_or(|(last, _)| *last != view) {
            self.notices.last = Some((view.clone(), context.now));
            context.outbox.notice(Notice::Lending(view));
        }
    }

    fn view(
        &mut self,
        sessions: u32,
        now: Duration,
        traffic: Traffic,
        library: &Library,
    ) -> Lending {
        let milli_tokens_per_second = self.statistics.milli_rows_per_second(now);
        let engine = self.engine.as_ref().map(|engine| engine.description.clone());
        let (backend, adapter, note) =
            engine.map(|engine| (engine.backend, engine.adapter, engine.note)).unwrap_or_default();
        let assignment = self.assignment.as_ref();
        let manifest = assignment.and_then(|a| library.manifests.get(&a.model));
        let blobs = assignment.map_or(&[][..], |assignment| &assignment.blobs);
        let loaded_bytes = blobs.iter().map(|(role, blob)| match self.parts.fetching.get(role) {
            Some(bytes) => *bytes,
            None if self.parts.loaded.contains(role) => blob.size_bytes,
            None => 0,
        });
        Lending {
            phase: self.shown_phase(),
            backend,
            adapter,
            note,
            model: manifest.map(|manifest| manifest.name.clone()),
            layers: assignment.map(|assignment| assignment.layers),
            model_layers: manifest.map_or(0, |manifest| manifest.config.layers),
            loaded_bytes: loaded_bytes.sum(),
            total_bytes: blobs.iter().map(|(_, blob)| blob.size_bytes).sum(),
            tokens: self.statistics.rows,
            milli_tokens_per_second,
            us_per_token_p50: self.statistics.us_per_token_p50(),
            credit_macs: self.credit_macs,
            receipts: self.receipts,
            sessions,
            milliwatt_hours: self.energy.milliwatt_hours(),
            received_bytes: self.fetched_bytes.saturating_add(traffic.received_bytes),
            sent_bytes: traffic.sent_bytes,
            share_percent: self.share_percent,
        }
    }
}
