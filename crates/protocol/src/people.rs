//! What volunteers say of themselves: a name that they choose, and the team that they are in.
//!
//! Everything is signed by the node's key, for one server and one moment. Of two statements the newer
//! one counts, so an old one that is sent again changes nothing:
//!
//! ```text
//! POST /api/v1/people   SignedStatement{node, text: Statement as JSON, signature}  ->  PersonView
//! GET  /api/v1/team     with TEAM_HEADER                                           ->  TeamView
//! ```

use serde::{Deserialize, Serialize};

use crate::api::digits;
use crate::id::{NodeId, TeamId};
use crate::identity::{Identity, Purpose};

/// How a link invites to a team, in its fragment: `https://host/#team=…`.
pub const TEAM_FRAGMENT: &str = "team=";
/// Request header with a [`TeamId`]: whoever has it may join, and addresses are logged.
pub const TEAM_HEADER: &str = "x-potluck-team";

/// A statement with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedStatement {
    /// Whose it is.
    pub node: NodeId,
    /// A [`Statement`] as JSON, byte for byte as it was signed.
    pub text: String,
    /// 128 hexadecimal digits, over `text`.
    pub signature: String,
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Origin of the server that it is for, so that no other can pass it on.
    pub to: String,
    /// When it was signed, milliseconds since 1970. The newest counts.
    pub at_ms: u64,
    /// What is said.
    pub says: Says,
}

/// What a volunteer can say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Says {
    /// Nothing: tell me what is known of me.
    Look,
    /// Call me this; an empty name takes back what was said before.
    Name {
        /// As [`chosen`](crate::name::chosen) leaves it.
        name: String,
    },
    /// Make a team, with me as its first member.
    Make {
        /// As [`chosen`](crate::name::chosen) leaves it.
        name: String,
    },
    /// I am in this team from now on, and in no other.
    Join {
        /// From the link.
        team: TeamId,
    },
    /// I am in no team any more.
    Leave,
}

/// What a server knows of who asks it with their own signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonView {
    /// Its key.
    pub node: NodeId,
    /// The name that it chose.
    pub called: Option<String>,
    /// The team that it is in.
    pub team: Option<OwnTeam>,
}

/// A team as its members see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnTeam {
    /// Whoever has it may join.
    pub id: TeamId,
    /// Its name.
    pub name: String,
    /// How many are in it now.
    pub members: u32,
    /// What members earned while they were in it, multiply-accumulates.
    #[serde(with = "digits")]
    pub credit_macs: u64,
}

/// A team as it is shown to who is invited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamView {
    /// Its name.
    pub name: String,
    /// How many are in it now.
    pub members: u32,
}

impl SignedStatement {
    /// Signs a statement.
    ///
    /// # Errors
    /// Never, as a statement can always be written as JSON.
    pub fn new(identity: &Identity, statement: &Statement) -> Result<Self, serde_json::Error> {
        let text = serde_json::to_string(statement)?;
        let signature = identity.sign(Purpose::Statement, text.as_bytes()).to_string();
        Ok(Self { node: identity.node(), text, signature })
    }

    /// What is said; `None` if its node did not sign it, or it is no statement.
    #[must_use]
    pub fn read(&self) -> Option<Statement> {
        let is_signed =
            crate::identity::is_signed(self.node, Purpose::Statement, &self.text, &self.signature);
        is_signed.then(|| serde_json::from_str(&self.text).ok())?
    }
}

impl TeamId {
    /// What a team is called where everybody reads it: nobody can join by it.
    #[must_use]
    pub fn tag(&self) -> String {
        let hash = blake3::derive_key("potluck team tag v1", &self.0);
        data_encoding::HEXLOWER.encode(&hash[..8])
    }

    /// A link that invites to the team.
    #[must_use]
    pub fn link(&self, page: &str) -> String {
        format!("{}/#{TEAM_FRAGMENT}{self}", page.trim_end_matches('/'))
    }

    /// The team that a fragment invites to; `None` if it invites to none.
    #[must_use]
    pub fn invited(fragment: &str) -> Option<Self> {
        fragment.split_once(TEAM_FRAGMENT)?.1.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(says: Says) -> Statement {
        Statement { to: "https://a".to_owned(), at_ms: 1, says }
    }

    #[test]
    fn a_statement_is_its_nodes_and_as_it_was_signed() {
        let me = Identity::from_seed(&[1; 32]);
        for says in [
            Says::Look,
            Says::Name { name: "Rosa".to_owned() },
            Says::Make { name: "Bakers".to_owned() },
            Says::Join { team: TeamId([2; 16]) },
            Says::Leave,
        ] {
            let signed = SignedStatement::new(&me, &statement(says.clone())).unwrap();
            assert_eq!(signed.read(), Some(statement(says)));
            let other = Identity::from_seed(&[3; 32]).node();
            assert_eq!(SignedStatement { node: other, ..signed.clone() }.read(), None);
            let text = signed.text.replace("https://a", "https://b");
            assert_eq!(SignedStatement { text, ..signed.clone() }.read(), None);
            for wrong in ["", "00", &"g".repeat(128), &"0".repeat(130)] {
                let signature = wrong.to_owned();
                assert_eq!(SignedStatement { signature, ..signed.clone() }.read(), None);
            }
        }
    }

    #[test]
    fn what_was_signed_for_something_else_says_nothing() {
        let me = Identity::from_seed(&[1; 32]);
        let text = serde_json::to_string(&statement(Says::Leave)).unwrap();
        let signature = me.sign(Purpose::SiteTask, text.as_bytes()).to_string();
        assert_eq!(SignedStatement { node: me.node(), text, signature }.read(), None);
    }

    #[test]
    fn a_link_invites_and_a_tag_does_not() {
        let team = TeamId([0x5a; 16]);
        let link = team.link("https://potluck.example/");
        assert_eq!(link, format!("https://potluck.example/#team={team}"));
        assert_eq!(TeamId::invited(&link), Some(team));
        assert_eq!(TeamId::invited(&format!("#team={team}")), Some(team));
        for none in ["", "#team=", "#team=xyz", "#room=abc", &format!("#team={team}0")] {
            assert_eq!(TeamId::invited(none), None, "{none}");
        }
        assert!(!team.to_string().contains(&team.tag()), "{}", team.tag());
        assert_ne!(team.tag(), TeamId([0x5b; 16]).tag());
    }
}
