//! Leases: the server's word that a node is to hold certain layers, signed, so that the node can show
//! it to the same server after that one has forgotten everything.

use serde::{Deserialize, Serialize};

use crate::id::{LayerRange, ModelId, NodeId};
use crate::identity::{Identity, Purpose, Signature, verify};

/// An assignment with an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The node that holds the layers.
    pub node: NodeId,
    /// The model of these layers.
    pub model: ModelId,
    /// With the first layer comes the embedding, with the last one the head.
    pub layers: LayerRange,
    /// When it ends, seconds since 1970.
    pub until_s: u64,
}

/// A lease that its server signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedLease {
    /// What is leased.
    pub lease: Lease,
    /// The server's, over the lease in the crate's one encoding.
    pub signature: Signature,
}

impl SignedLease {
    /// Signs `lease` as the server `identity`.
    #[must_use]
    pub fn new(identity: &Identity, lease: Lease) -> Self {
        let signature = identity.sign(Purpose::Lease, &crate::encoding::encode(&lease));
        Self { lease, signature }
    }

    /// True if `server` signed it. Whether it has ended is not looked at.
    #[must_use]
    pub fn is_from(&self, server: NodeId) -> bool {
        let bytes = crate::encoding::encode(&self.lease);
        verify(server, Purpose::Lease, &bytes, &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_holds_for_what_its_server_signed_only() {
        let (server, other) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let lease = Lease {
            node: other.node(),
            model: ModelId([3; 32]),
            layers: LayerRange { first: 0, end: 2 },
            until_s: 1_800_000_000,
        };
        let signed = SignedLease::new(&server, lease);
        assert!(signed.is_from(server.node()));
        assert!(!signed.is_from(other.node()));
        let changes: [fn(&mut Lease); 4] = [
            |lease| lease.node.0[0] ^= 1,
            |lease| lease.model.0[0] ^= 1,
            |lease| lease.layers.end += 1,
            |lease| lease.until_s += 1,
        ];
        for change in changes {
            let mut forged = signed.clone();
            change(&mut forged.lease);
            assert!(!forged.is_from(server.node()), "{:?}", forged.lease);
        }
    }
}
