//! What the command line takes for a server's address and for a question, checked before anything
//! is started.

use potluck_protocol::invitation::{Invitation, ROOM_FRAGMENT};
use potluck_protocol::room::ParseRoomError;
use url::Url;

/// What a server's address begins with. The node takes no other, as it fetches weights from the
/// same address and finds the WebSocket's by itself.
const SCHEMES: [&str; 2] = ["http", "https"];

/// An address that a server can have.
///
/// # Errors
/// If it is none, with a sentence for the person who typed it.
pub(super) fn server_address(text: &str) -> Result<String, String> {
    let wrong = |why: &str| {
        format!("{text:?} is no server's address ({why}); write it like http://127.0.0.1:8080")
    };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err(wrong("it begins with neither http:// nor https://"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("nothing may follow the path"));
    }
    Ok(text.trim().to_owned())
}

/// A swarm: a server, and a room of it where the link names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SwarmAddress {
    pub(super) server: String,
    pub(super) room: Option<Invitation>,
}

impl SwarmAddress {
    /// Server and room, where the room may have been named apart.
    pub(super) fn with(self, room: Option<Invitation>) -> (String, Option<Invitation>) {
        (self.server, room.or(self.room))
    }
}

/// The address of a server, or the link that invites to a room there.
///
/// # Errors
/// If it is neither, with a sentence for the person who typed it.
pub(super) fn swarm_address(text: &str) -> Result<SwarmAddress, String> {
    let (server, room) = match text.split_once('#') {
        Some((server, fragment)) if fragment.starts_with(ROOM_FRAGMENT) => {
            // Not the text itself: it may be a secret with a slip in it.
            (server, Some(fragment.parse().map_err(|error: ParseRoomError| error.to_string())?))
        }
        _ => (text, None),
    };
    Ok(SwarmAddress { server: server_address(server)?, room })
}

/// A question with something in it.
///
/// # Errors
/// If there is nothing in it, with a sentence for the person who typed it.
pub(super) fn question(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("the question is empty; write something first".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use potluck_protocol::room::RoomSecret;

    use super::*;

    #[test]
    fn addresses_of_servers_are_taken_as_they_are() {
        for address in [
            "http://127.0.0.1:8080",
            "http://127.0.0.1:8080/",
            "https://potluck.example/below",
            "http://[::1]:8080",
        ] {
            assert_eq!(server_address(address).as_deref(), Ok(address));
        }
    }

    #[test]
    fn an_address_that_nothing_can_answer_is_refused_with_a_sentence() {
        for address in [
            "foo",
            "",
            "127.0.0.1:8080",
            "localhost:8080",
            "http://",
            "http://host:99999",
            "ftp://host",
            "ws://[::1]:8080",
            "http://host?a=b",
            "http://host/#part",
        ] {
            let refused = server_address(address).expect_err(address);
            assert!(refused.starts_with(&format!("{address:?} is no server's address (")));
            assert!(refused.ends_with("write it like http://127.0.0.1:8080"), "{refused}");
        }
    }

    #[test]
    fn an_empty_question_is_refused() {
        assert!(question(" \n\t").is_err_and(|why| why.contains("the question is empty")));
        assert_eq!(question(" Why? ").as_deref(), Ok(" Why? "));
    }

    #[test]
    fn a_link_that_invites_names_server_and_room() {
        let secret = Invitation::from(RoomSecret([7; 16]));
        for server in ["http://127.0.0.1:8080", "https://potluck.example/party/"] {
            let address = swarm_address(&secret.link(server)).expect("an invitation");
            assert_eq!(address.room, Some(secret));
            assert_eq!(address.server.trim_end_matches('/'), server.trim_end_matches('/'));
            assert_eq!(
                swarm_address(server),
                Ok(SwarmAddress { server: server.to_owned(), room: None })
            );
        }
        let refused = swarm_address("http://host/#room=abc").expect_err("too short");
        assert!(refused.contains("paste the whole link"), "{refused}");
        assert!(swarm_address("http://host/#part").is_err());
    }
}
