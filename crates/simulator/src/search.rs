//! When all is quiet, every holder of an identity is looked for: what is sent to its identity reaches it.

use std::collections::BTreeMap;

use heartring_core::{Identity, Letter, Request};
use heartring_sim::Saw;

use crate::driver::{Driver, Going};
use crate::record::Told;
use crate::speech::Answer;
use crate::witness::name_of;

/// Who sends what comes from outside.
pub(crate) const OUTSIDE: u32 = u32::MAX;

impl Driver {
    /// What is sent to an identity reaches its holder, once nothing is under way: the directory has forgotten nobody who lives,
    /// whatever was released meanwhile.
    pub(crate) fn find_every_holder(&mut self) -> Going {
        for (identity, client) in self.holders().into_iter().take(40) {
            self.letters += 1;
            let number = self.letters;
            let nth = self.dice.below(self.stations.len());
            let station = &mut self.stations[nth];
            station.wake(self.now, &mut self.post, &self.scene);
            station.deliver(Letter::Request(for_identity(identity, number)));
            station.turn(&mut self.post, &self.scene);
            if self.rest() == Going::Astray {
                return Going::Astray;
            }
            let still_holds = self.holders().get(&identity) == Some(&client);
            let scene = &mut *self.scene.borrow_mut();
            let client = &mut scene.clients[client as usize];
            if still_holds && client.takes_what_comes() && client.peer.saw() == Saw::Open {
                client.read();
                if !client.truth.read_for_identity.contains(&(OUTSIDE, number)) {
                    let who = client.number;
                    let what = format!(
                        "client {who} holds identity {identity}, and nothing that is sent to it comes"
                    );
                    self.holders_lost.push(what);
                }
            }
        }
        Going::Done
    }

    /// Who holds which identity. Those whose end has been announced are left out.
    fn holders(&self) -> BTreeMap<u32, u32> {
        let journal = self.journal.borrow();
        let (mut clients, mut claims, mut holders) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for entry in &journal.entries {
            match entry.told {
                Told::Opened { client } => drop(clients.insert(entry.conn, client)),
                Told::Claims { identity } => drop(claims.insert(entry.conn, identity)),
                Told::Claimed { .. } => drop(holders.insert(claims[&entry.conn], entry.conn)),
                Told::Closing(_) => holders.retain(|_, conn| *conn != entry.conn),
                Told::Received { .. }
                | Told::Overdue
                | Told::Late { .. }
                | Told::Writable
                | Told::Closed(_)
                | Told::Sends { .. }
                | Told::Closes
                | Told::Negotiates(_) => {}
            }
        }
        holders.into_iter().map(|(identity, conn)| (identity, clients[&conn])).collect()
    }
}

/// A payload for whoever has an identity, from outside.
pub(crate) fn for_identity(identity: u32, number: u32) -> Request {
    let payload = Answer::ForIdentity { identity, by: OUTSIDE, number }.frame(0);
    Request::Forward { identity: Identity::new(&name_of(identity)), payload }
}
