//! What a person at a node got to read.

use potluck_protocol::id::NodeId;
use potluck_protocol::page::{AnswerEvent, Notice};

use super::Swarm;

impl Swarm {
    /// Everything said about the question of `requester`.
    pub fn answer_events(&self, requester: NodeId) -> Vec<AnswerEvent> {
        let of = |(node, notice): &(NodeId, Notice)| match notice {
            Notice::Answer { event, .. } if *node == requester => Some(event.clone()),
            _ => None,
        };
        self.notices.iter().filter_map(of).collect()
    }

    pub fn tokens(&self, requester: NodeId) -> Vec<u32> {
        let token = |event: AnswerEvent| match event {
            AnswerEvent::Token { token, .. } => Some(token),
            _ => None,
        };
        self.answer_events(requester).into_iter().filter_map(token).collect()
    }

    /// Why the answer broke off, each time that it did.
    pub fn breaks(&self, requester: NodeId) -> Vec<String> {
        let broke = |event: AnswerEvent| match event {
            AnswerEvent::Resuming { reason } => Some(reason),
            _ => None,
        };
        self.answer_events(requester).into_iter().filter_map(broke).collect()
    }

    pub fn failure(&self, requester: NodeId) -> Option<String> {
        self.answer_events(requester).into_iter().find_map(|event| match event {
            AnswerEvent::Failed { reason, .. } => Some(reason),
            _ => None,
        })
    }

    /// True if a node has told the server that a session ends for a reason that says this.
    pub fn ended_with(&self, words: &str) -> bool {
        self.server.ended.iter().any(|(_, reason)| reason.contains(words))
    }
}
