//! Which layers an asker computes on its own machine, and what that takes.

use std::collections::BTreeMap;

use potluck_model::package::{BlobRef, BlobRole, Manifest};
use potluck_protocol::id::LayerRange;
use potluck_protocol::page::{Own, OwnPart};

use crate::node::requester::fault::QuestionFault;

/// The own layers of a question, and their weights.
#[derive(Debug)]
pub(super) struct Parts {
    /// From the embedding on: the beginning, or everything.
    pub(super) first: LayerRange,
    /// Up to the head, where others compute the layers between.
    pub(super) last: Option<LayerRange>,
    pub(super) blobs: BTreeMap<BlobRole, BlobRef>,
}

impl Parts {
    /// What of a model this machine is to compute.
    ///
    /// # Errors
    /// If the model has too few layers for that, or this machine too little memory.
    pub(super) fn new(own: &Own, manifest: &Manifest) -> Result<Self, QuestionFault> {
        let (model, all) = (&manifest.name, manifest.config.layers);
        let (first, last) = match own.part {
            OwnPart::All => (LayerRange { first: 0, end: all }, None),
            OwnPart::Ends { layers: 0 } => return Err(QuestionFault::NoEnds),
            OwnPart::Ends { layers } if layers >= all.saturating_sub(layers) => {
                let (model, most) = (model.clone(), all.saturating_sub(1) / 2);
                return Err(QuestionFault::NoMiddle { model, all, layers, most });
            }
            OwnPart::Ends { layers } => {
                let last = LayerRange { first: all - layers, end: all };
                (LayerRange { first: 0, end: layers }, Some(last))
            }
        };
        let ranges = [Some(first), last].into_iter().flatten();
        let blobs = ranges.flat_map(|layers| manifest.blobs_for(layers.indices())).collect();
        let parts = Self { first, last, blobs };
        let (needed, given) = (parts.bytes(), own.memory_bytes);
        if needed > given {
            let model = model.clone();
            return Err(QuestionFault::NoMemory { model, needed, given });
        }
        Ok(parts)
    }

    /// What others compute; none if nobody does.
    pub(super) fn middle(&self) -> Option<LayerRange> {
        LayerRange::new(self.first.end, self.last?.first)
    }

    pub(super) fn ranges(&self) -> Vec<LayerRange> {
        [Some(self.first), self.last].into_iter().flatten().collect()
    }

    /// Size of the weights.
    pub(super) fn bytes(&self) -> u64 {
        self.blobs.values().map(|blob| blob.size_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use potluck_model::synthetic::{Synthetic, config};
    use potluck_protocol::page::BackendPreference;

    use super::*;

    fn parts(part: OwnPart, layers: u32, memory_bytes: u64) -> Result<Parts, String> {
        let manifest = Synthetic::new(config(layers, 64, 96, (4, 2, 16), 99, 64), 1).manifest;
        let own = Own { part, backend: BackendPreference::Cpu, memory_bytes };
        Parts::new(&own, &manifest).map_err(|fault| fault.to_string())
    }

    #[test]
    fn the_ends_leave_a_middle_and_bring_what_words_need() {
        let parts = parts(OwnPart::Ends { layers: 2 }, 5, u64::MAX).expect("it fits");
        assert_eq!(
            parts.ranges(),
            [LayerRange { first: 0, end: 2 }, LayerRange { first: 3, end: 5 }]
        );
        assert_eq!(parts.middle(), LayerRange::new(2, 3));
        let roles: Vec<BlobRole> = parts.blobs.keys().copied().collect();
        for role in [BlobRole::Tables, BlobRole::Embedding, BlobRole::Layer(4), BlobRole::Head] {
            assert!(roles.contains(&role), "{role:?}");
        }
        assert!(!roles.contains(&BlobRole::Layer(2)), "that is the others'");
    }

    #[test]
    fn what_cannot_be_is_said_with_what_can() {
        let two = parts(OwnPart::Ends { layers: 2 }, 4, u64::MAX).expect_err("no middle");
        assert!(two.contains("at most 1"), "{two}");
        assert!(parts(OwnPart::Ends { layers: 1 }, 3, u64::MAX).is_ok());
        for (layers, all) in [(1, 2), (1, 1), (u32::MAX, 6)] {
            assert!(parts(OwnPart::Ends { layers }, all, u64::MAX).is_err(), "{layers} of {all}");
        }
        assert!(parts(OwnPart::Ends { layers: 0 }, 6, u64::MAX).is_err(), "words would leave");
        let all = parts(OwnPart::All, 3, u64::MAX).expect("it fits");
        assert_eq!((all.middle(), all.ranges().len()), (None, 1));
        assert!(parts(OwnPart::All, 3, all.bytes()).is_ok());
        let small = parts(OwnPart::All, 3, all.bytes() - 1).expect_err("one byte short");
        assert!(small.contains("memory"), "{small}");
    }
}
