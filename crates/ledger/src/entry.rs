//! Double entry: credit is never made, only moved, so the books always sum to zero.
//!
//! For a credited receipt the requester's usage goes down by what the stage's balance goes up:
//! `Used(requester)` is a node's total consumption as a negative number, `Earned(stage)` its
//! contribution as a positive one.

use potluck_protocol::id::NodeId;

/// An account of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    /// Work that a node did for others.
    Earned(NodeId),
    /// Work that others did for a node.
    Used(NodeId),
}

/// A movement of credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The account that goes down.
    pub from: Account,
    /// The account that goes up.
    pub to: Account,
    /// By how many multiply-accumulates.
    pub macs: u64,
}

impl Transfer {
    /// What a credited receipt moves.
    #[must_use]
    pub fn for_work(stage: NodeId, requester: NodeId, macs: u64) -> Self {
        Self { from: Account::Used(requester), to: Account::Earned(stage), macs }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Balances, as a replay of transfers gives them.
    #[derive(Default)]
    struct Books {
        balances: BTreeMap<Account, i128>,
    }

    impl Books {
        fn apply(&mut self, transfer: &Transfer) {
            *self.balances.entry(transfer.from).or_default() -= i128::from(transfer.macs);
            *self.balances.entry(transfer.to).or_default() += i128::from(transfer.macs);
        }

        fn balance(&self, account: Account) -> i128 {
            self.balances.get(&account).copied().unwrap_or(0)
        }
    }

    proptest! {
        #[test]
        fn the_books_always_sum_to_zero(
            work in proptest::collection::vec((0_u8..5, 0_u8..5, any::<u64>()), 0..50),
        ) {
            let mut books = Books::default();
            let mut earned = 0_i128;
            for (stage, requester, macs) in work {
                let (stage, requester) = (NodeId([stage; 32]), NodeId([requester; 32]));
                books.apply(&Transfer::for_work(stage, requester, macs));
                earned += i128::from(macs);
                prop_assert_eq!(books.balances.values().sum::<i128>(), 0);
            }
            let earned_by = |node| books.balance(Account::Earned(NodeId([node; 32])));
            prop_assert_eq!((0..5).map(earned_by).sum::<i128>(), earned);
        }
    }
}
