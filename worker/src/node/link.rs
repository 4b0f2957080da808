//! The link to the server: dial, prove who we are, come back with growing patience when it is lost.

use std::time::Duration;

use potluck_net as net;
use potluck_protocol::identity::Purpose;
use potluck_protocol::page::{self, Notice};
use potluck_protocol::server::{FromServer, ToServer, challenge_bytes};
use potluck_protocol::{NUMERICS_VERSION, PROTOCOL_VERSION};

use super::{Action, Node};

/// The link.
#[derive(Debug, Default)]
pub(super) struct Link {
    state: LinkState,
    url: String,
    /// Attempts since the last welcome.
    attempts: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum LinkState {
    /// Never told to connect, or refused.
    #[default]
    Off,
    /// Dialling or proving; given up at this time.
    Opening(Duration),
    /// Welcome.
    Open,
    /// Lost; dial again at this time.
    Lost(Duration),
}

/// The first wait after a lost link. Short, because most losses are a server that restarts.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The longest wait: a volunteer who leaves the page open overnight finds it lending in the
/// morning.
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Dialling and proving together.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

impl Link {
    pub(super) fn is_open(&self) -> bool {
        self.state == LinkState::Open
    }

    pub(super) fn is_off(&self) -> bool {
        self.state == LinkState::Off
    }

    /// Doubles from [`FIRST_RETRY`] to [`LAST_RETRY`], then is stretched by up to a half, by the
    /// node's own id and the attempt, so that the nodes of a restarted server do not all come back
    /// in the same instant.
    fn retry_after(&self, spread: u8) -> Duration {
        let doubled = FIRST_RETRY.saturating_mul(1 << self.attempts.min(10)).min(LAST_RETRY);
        let part =
            u32::from(spread.wrapping_mul(37).wrapping_add((self.attempts % 251) as u8 ^ 0x5a));
        doubled + doubled * part / 512
    }
}

impl Node {
    pub(super) fn connect(&mut self, server: String, now: Duration) {
        self.link.url = socket_url(&server);
        self.link.attempts = 0;
        self.dial(now);
    }

    fn dial(&mut self, now: Duration) {
        self.link.state = LinkState::Opening(now + OPEN_TIMEOUT);
        self.notice(Notice::Link(page::Link::Connecting));
        self.actions
            .push(Action::Transport(net::Command::OpenServer { url: self.link.url.clone() }));
    }

    pub(super) fn server_open(&mut self) {
        self.say_in_handshake(&ToServer::Hello {
            protocol: PROTOCOL_VERSION,
            numerics: NUMERICS_VERSION,
            node: self.me,
        });
    }

    pub(super) fn server_message(&mut self, message: FromServer, now: Duration) {
        match message {
            FromServer::Challenge { nonce } => {
                let signature =
                    self.identity.sign(Purpose::Challenge, &challenge_bytes(&nonce, self.me));
                self.say_in_handshake(&ToServer::Prove { signature });
            }
            FromServer::Welcome { ice_servers, models } => {
                self.ice_servers = ice_servers;
                self.models = models;
                self.link.state = LinkState::Open;
                self.link.attempts = 0;
                self.notice(Notice::Link(page::Link::Open));
                self.register();
                self.asking_link_open(now);
                self.resend_receipts();
            }
            FromServer::Refused { reason } => {
                self.link.state = LinkState::Off;
                self.actions.push(Action::Transport(net::Command::CloseServer));
                self.fail_all_asks(&format!("the server refused this node: {reason}"), now);
                self.notice(Notice::Link(page::Link::Refused { reason }));
            }
            FromServer::RequestRefused { request, reason } => self.fail_ask(request, &reason, now),
            FromServer::Assign { model, layers } => self.assigned(model, layers, now),
            FromServer::Waiting { request, missing } => self.waiting(request, missing),
            FromServer::Route { request, session } => self.routed(request, session, now),
            FromServer::Serve { session } => self.serve(session, now),
            FromServer::SessionEnded { session, reason, failed_node } => {
                self.end_serving(session, Some(&reason), now);
                self.resume_ask_of(session, &reason, failed_node, now);
            }
            FromServer::Signal { from, signal } => self.signal_in(from, signal),
            FromServer::ReceiptResult { receipt, verdict } => {
                self.receipt_result(receipt, verdict, now)
            }
        }
    }

    pub(super) fn server_lost(&mut self, reason: String, now: Duration) {
        if self.link.is_off() {
            return;
        }
        let wait = self.link.retry_after(self.me.0[2]);
        self.link.attempts += 1;
        self.link.state = LinkState::Lost(now + wait);
        self.actions.push(Action::Transport(net::Command::CloseServer));
        self.asking_link_lost();
        let retry_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        self.notice(Notice::Link(page::Link::Lost { reason, retry_ms }));
    }

    pub(super) fn link_tick(&mut self, now: Duration) {
        match self.link.state {
            LinkState::Lost(at) if now >= at => self.dial(now),
            LinkState::Opening(at) if now >= at => {
                self.server_lost("the server did not answer in time".to_owned(), now)
            }
            _ => {}
        }
    }
}

/// `http://host` → `ws://host/api/v1/socket`.
fn socket_url(server: &str) -> String {
    let server = server.trim_end_matches('/');
    let socket =
        server.strip_prefix("http").map_or_else(|| server.to_owned(), |rest| format!("ws{rest}"));
    format!("{socket}/api/v1/socket")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_under_the_servers_address() {
        assert_eq!(socket_url("http://127.0.0.1:8080/"), "ws://127.0.0.1:8080/api/v1/socket");
        assert_eq!(socket_url("https://potluck.example"), "wss://potluck.example/api/v1/socket");
    }

    #[test]
    fn waits_grow_and_stay_bounded() {
        let mut link = Link::default();
        let mut last = Duration::ZERO;
        for attempts in 0..40 {
            link.attempts = attempts;
            let wait = link.retry_after(7);
            assert!(wait >= FIRST_RETRY && wait <= LAST_RETRY * 3 / 2, "{wait:?}");
            if attempts < 5 {
                assert!(wait > last, "attempt {attempts}: {wait:?} after {last:?}");
            }
            last = wait;
        }
    }
}
