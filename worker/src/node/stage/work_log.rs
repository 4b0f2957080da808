//! What a stage writes down of its work: the content of its receipts.

use potluck_engine::engine::Output;
use potluck_protocol::id::{LayerRange, NodeId};
use potluck_protocol::receipt::{RECEIPT_POSITIONS, Receipt};
use potluck_protocol::server::Session;

/// What one stage did in one session since its last receipt.
#[derive(Debug)]
pub(super) struct WorkLog {
    template: Receipt,
    hasher: blake3::Hasher,
}

impl WorkLog {
    pub(super) fn new(session: &Session, stage: NodeId, layers: LayerRange) -> Self {
        let template = Receipt {
            session: session.id,
            model: session.model,
            stage,
            requester: session.requester,
            layers,
            sequence: 0,
            from_position: 0,
            to_position: 0,
            sampled: 0,
            output_hash: [0; 32],
        };
        Self { template, hasher: blake3::Hasher::new() }
    }

    /// The session begins at this position.
    pub(super) fn begin_at(&mut self, position: u32) {
        (self.template.from_position, self.template.to_position) = (position, position);
    }

    /// Adds a step; returns the receipts it completes.
    pub(super) fn record(&mut self, rows: u32, output: &Output) -> Vec<Receipt> {
        let mut complete = Vec::new();
        let width = match output {
            Output::Hidden(values) => values.len() / rows.max(1) as usize,
            Output::Token(_) | Output::Logits(_) | Output::None => 0,
        };
        for row in 0..rows as usize {
            match output {
                Output::Hidden(values) => {
                    for value in &values[row * width..(row + 1) * width] {
                        self.hasher.update(&value.to_le_bytes());
                    }
                }
                Output::Token(token) if row + 1 == rows as usize => {
                    self.hasher.update(&token.to_le_bytes());
                    self.template.sampled += 1;
                }
                Output::Token(_) | Output::Logits(_) | Output::None => {}
            }
            self.template.to_position += 1;
            if self.template.positions() == RECEIPT_POSITIONS {
                complete.extend(self.finish());
            }
        }
        complete
    }

    /// Closes the receipt that is open, if it covers anything.
    pub(super) fn finish(&mut self) -> Option<Receipt> {
        if self.template.positions() == 0 {
            return None;
        }
        self.template.output_hash = *self.hasher.finalize().as_bytes();
        let receipt = self.template.clone();
        self.hasher = blake3::Hasher::new();
        self.template.sequence += 1;
        self.template.from_position = self.template.to_position;
        self.template.sampled = 0;
        Some(receipt)
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{Epoch, ModelId, SessionId};
    use potluck_protocol::server::Stage;

    use super::*;

    fn session(stage: NodeId, requester: NodeId) -> Session {
        let stages = vec![Stage { node: stage, layers: LayerRange { first: 0, end: 6 } }];
        Session {
            id: SessionId([1; 16]),
            model: ModelId([2; 32]),
            requester,
            stages,
            epochs: vec![Epoch(1), Epoch(2)],
            continues: None,
        }
    }

    #[test]
    fn a_log_cuts_its_work_every_64_positions() {
        let (stage, requester) = (NodeId([1; 32]), NodeId([2; 32]));
        let session = session(stage, requester);
        let mut log = WorkLog::new(&session, stage, session.stages[0].layers);
        assert!(log.record(50, &Output::None).is_empty());
        let receipts = log.record(50, &Output::Token(7));
        assert_eq!(receipts.len(), 1);
        assert_eq!(
            (receipts[0].from_position, receipts[0].to_position, receipts[0].sampled),
            (0, 64, 0)
        );
        let last = log.finish().unwrap();
        assert_eq!(
            (last.sequence, last.from_position, last.to_position, last.sampled),
            (1, 64, 100, 1)
        );
        assert!(log.finish().is_none());
    }

    #[test]
    fn the_hash_does_not_depend_on_how_rows_were_grouped() {
        let (stage, requester) = (NodeId([1; 32]), NodeId([2; 32]));
        let session = session(stage, requester);
        let rows: Vec<i32> = (0..8).collect();
        let mut at_once = WorkLog::new(&session, stage, session.stages[0].layers);
        at_once.record(4, &Output::Hidden(rows.clone()));
        let mut one_by_one = WorkLog::new(&session, stage, session.stages[0].layers);
        for row in rows.chunks(2) {
            one_by_one.record(1, &Output::Hidden(row.to_vec()));
        }
        assert_eq!(at_once.finish(), one_by_one.finish());
    }
}
