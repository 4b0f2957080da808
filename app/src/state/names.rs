//! Names at a table that is too large to list: fetched only when somebody asks, some at a time.

use potluck_protocol::api::{NodeView, NodesPage};

use super::Effect;

/// Names kept at most. Nobody reads more, and a longer table is slow to draw.
pub const MAX_NAMES: usize = 300;

/// Those whose names were asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    /// In the order of their keys, at most [`MAX_NAMES`].
    pub nodes: Vec<NodeView>,
    /// There are more, and room for them.
    pub has_more: bool,
    /// Why there are none.
    pub failure: Option<String>,
    is_asking: bool,
}

impl Names {
    /// The first names, or those behind the last one that is here.
    pub(super) fn ask(&mut self) -> Vec<Effect> {
        if std::mem::replace(&mut self.is_asking, true) {
            return Vec::new();
        }
        vec![Effect::FetchNames { after: self.nodes.last().map(|node| node.id) }]
    }

    pub(super) fn handle(&mut self, answer: Result<NodesPage, String>) {
        self.is_asking = false;
        match answer {
            Ok(page) => {
                // The server's word for where to go on is not needed: names are in order.
                let last = self.nodes.last().map(|node| node.id);
                self.nodes.extend(page.nodes.into_iter().filter(|node| Some(node.id) > last));
                self.nodes.truncate(MAX_NAMES);
                self.has_more = page.next.is_some() && self.nodes.len() < MAX_NAMES;
                self.failure = None;
            }
            Err(failure) => self.failure = Some(failure),
        }
    }
}
