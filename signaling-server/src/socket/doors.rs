//! Doors of rooms, as far as the server has to do with them: it finds for a number the member who
//! waits there, and passes on what the two say. See [`potluck_protocol::door`].
//!
//! Doors lead from one swarm into another, so they are the server's and no hub's. Who may do what is
//! decided in [`table`].

mod table;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use potluck_protocol::door::{FromDoor, ToDoor};
use potluck_protocol::server::FromServer;
use tokio::sync::mpsc;
use tokio::time::Instant;

use table::{Caller, Table};

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Doors(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    table: Table,
    lines: HashMap<u64, Line>,
    next: u64,
}

/// The way to a node. It is weak, so that nothing but the hub holds the connection.
type Line = mpsc::WeakSender<Box<FromServer>>;

/// A connection that has had to do with doors. Dropped, its doors close.
#[derive(Debug)]
pub(super) struct Visitor {
    doors: Arc<Doors>,
    caller: Caller,
}

impl Visitor {
    /// The connection behind `line`, from this address.
    pub(super) fn new(doors: &Arc<Doors>, address: IpAddr, line: Line) -> Self {
        let mut inner = doors.lock();
        let connection = inner.next;
        inner.next += 1;
        inner.lines.insert(connection, line);
        drop(inner);
        Self { doors: Arc::clone(doors), caller: Caller { connection, address } }
    }

    /// It says something at a door. `random` chooses the number of a new one.
    pub(super) fn say(&self, message: ToDoor, random: u32, now: Instant) {
        let mut inner = self.doors.lock();
        let said = inner.table.handle(self.caller, message, random, now);
        inner.send(said);
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let mut inner = self.doors.lock();
        inner.lines.remove(&self.caller.connection);
        let said = inner.table.gone(self.caller.connection);
        inner.send(said);
    }
}

impl Doors {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What does not fit a queue that is full is lost, and its door ends by its time.
    fn send(&self, said: Vec<(u64, FromDoor)>) {
        for (connection, message) in said {
            let line = self.lines.get(&connection).and_then(mpsc::WeakSender::upgrade);
            if let Some(line) = line {
                let _lost = line.try_send(Box::new(FromServer::Door(message)));
            }
        }
    }
}
