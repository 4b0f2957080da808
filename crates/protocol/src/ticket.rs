//! Tickets: the server's word that a node is a stage of a session, signed, so that a receipt can be
//! judged by what comes with it, without a row a session on the server's disk.

use serde::{Deserialize, Serialize};

use crate::id::{LayerRange, ModelId, NodeId, SessionId};
use crate::identity::{Identity, Purpose, Signature, verify};

/// One stage's part in one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The session.
    pub session: SessionId,
    /// The model computed.
    pub model: ModelId,
    /// The node that asked.
    pub requester: NodeId,
    /// The node that computes.
    pub stage: NodeId,
    /// The stage's layers in this session.
    pub layers: LayerRange,
    /// When the session was opened, milliseconds since 1970.
    pub opened_ms: u64,
    /// Until when receipts are taken, seconds since 1970.
    pub until_s: u64,
    /// False if the work earns nothing, because the requester and the stage may be one person: they
    /// are one key, or behind one public address. Then nobody need make a receipt.
    pub earns: bool,
    /// The session goes on with an earlier one, so that its first receipt need not begin at its
    /// first position.
    pub continues: bool,
}

/// A ticket that its server signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTicket {
    /// The stage's part.
    pub ticket: Ticket,
    /// The server's, over the ticket in the crate's one encoding.
    pub signature: Signature,
}

impl SignedTicket {
    /// Signs `ticket` as the server `identity`.
    #[must_use]
    pub fn new(identity: &Identity, ticket: Ticket) -> Self {
        let signature = identity.sign(Purpose::Ticket, &crate::encoding::encode(&ticket));
        Self { ticket, signature }
    }

    /// True if `server` signed it. Whether it has ended is not looked at.
    #[must_use]
    pub fn is_from(&self, server: NodeId) -> bool {
        let bytes = crate::encoding::encode(&self.ticket);
        verify(server, Purpose::Ticket, &bytes, &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_holds_for_what_its_server_signed_only() {
        let server = Identity::from_seed(&[1; 32]);
        let ticket = Ticket {
            session: SessionId([2; 16]),
            model: ModelId([3; 32]),
            requester: NodeId([4; 32]),
            stage: NodeId([5; 32]),
            layers: LayerRange { first: 0, end: 2 },
            opened_ms: 1_700_000_000_000,
            until_s: 1_800_000_000,
            earns: false,
            continues: false,
        };
        let signed = SignedTicket::new(&server, ticket);
        assert!(signed.is_from(server.node()));
        assert!(!signed.is_from(Identity::from_seed(&[2; 32]).node()));
        let changes: [fn(&mut Ticket); 8] = [
            |ticket| ticket.session.0[0] ^= 1,
            |ticket| ticket.model.0[0] ^= 1,
            |ticket| ticket.requester.0[0] ^= 1,
            |ticket| ticket.stage.0[0] ^= 1,
            |ticket| ticket.layers.end += 1,
            |ticket| ticket.opened_ms -= 1,
            |ticket| ticket.until_s += 1,
            |ticket| ticket.earns = true,
        ];
        for change in changes {
            let mut forged = signed.clone();
            change(&mut forged.ticket);
            assert!(!forged.is_from(server.node()), "{:?}", forged.ticket);
        }
    }
}
