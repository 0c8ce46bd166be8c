//! The gateway of the reboot loop: who introduces itself claims that identity, and a book is kept of who holds what.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use heartring::{
    Closed, Config, Conn, ConnAt, FlapGuard, Gateway, Handler, Identity, Lines, Running, Summary,
};

use super::gateway::{GatewayFacts, reachable};
use crate::failure::Failure;
use crate::system;

/// What a shard reports. What happens before a letter between shards is also reported before what the letter causes, so that
/// the reports of all shards are in an order in which it can have been.
enum News {
    Opened(ConnAt),
    Announced(ConnAt, Identity),
    Claimed(ConnAt),
    Closed(ConnAt),
}

/// A running gateway and the book about it.
pub(super) struct Registry {
    running: Running,
    news: Receiver<News>,
    pub(super) book: Book,
}

/// Who is connected, and the worst that was ever seen.
#[derive(Debug, Default)]
pub(super) struct Book {
    conns: HashMap<ConnAt, Known>,
    /// Of each identity: connections that have claimed it, and those of them that hold it.
    identities: HashMap<Identity, (u32, u32)>,
    /// Claims of an identity that another connection had claimed before and not given up.
    pub(super) takeovers: u32,
    /// Connections of one identity at the same time: the most there ever were.
    pub(super) conns_max: u32,
    /// Connections that held one identity at the same time: the most there ever were.
    pub(super) bound_max: u32,
}

#[derive(Debug, Default)]
struct Known {
    identity: Option<Identity>,
    bound: bool,
}

impl Registry {
    /// Starts a gateway on `listen`, whose flap guard permits each identity `reboots`.
    pub(super) fn start(config: Config, listen: &str, reboots: u32) -> Result<Self, Failure> {
        let (sender, news) = channel();
        let usual = FlapGuard::default();
        let flap_guard = Some(FlapGuard { takeovers_max: usual.takeovers_max.max(reboots), ..usual });
        let running = Gateway::new(Config { flap_guard, claim_required: true, ..config })
            .listen(listen)
            .start(move |_shard| Doorman { news: sender.clone() })
            .map_err(|error| Failure::from_library(&error))?;
        Ok(Self { running, news, book: Book::default() })
    }

    pub(super) fn address(&self) -> SocketAddr {
        reachable(&self.running)
    }

    pub(super) fn facts(&self) -> GatewayFacts {
        GatewayFacts::of(&self.running)
    }

    /// Takes in what the shards report until `timeout` has passed.
    pub(super) fn watch(&mut self, timeout: Duration) {
        let until = system::now() + timeout;
        while let Ok(news) = self.news.recv_timeout(until.saturating_since(system::now())) {
            self.book.enter(&news);
        }
    }

    /// Stops it in order and returns when it has ended.
    pub(super) fn stop(mut self) -> Result<(Book, Summary), Failure> {
        self.running.stop();
        // The shards are gone and their senders with them after this, so that the news come to an end.
        let summary = self.running.join().map_err(|error| Failure::from_library(&error))?;
        self.news.iter().for_each(|news| self.book.enter(&news));
        Ok((self.book, summary))
    }
}

impl Book {
    /// Connections at present.
    pub(super) fn open(&self) -> usize {
        self.conns.len()
    }

    fn enter(&mut self, news: &News) {
        match news {
            News::Opened(at) => {
                self.conns.insert(*at, Known::default());
            }
            News::Announced(at, identity) => {
                self.conns.entry(*at).or_default().identity = Some(identity.clone());
                let (conns, _) = self.identities.entry(identity.clone()).or_default();
                *conns += 1;
                self.takeovers += u32::from(*conns > 1);
                self.conns_max = self.conns_max.max(*conns);
            }
            News::Claimed(at) => self.claimed(*at),
            News::Closed(at) => self.closed(*at),
        }
    }

    fn claimed(&mut self, at: ConnAt) {
        let Some(known) = self.conns.get_mut(&at) else { return };
        known.bound = true;
        let counts = known.identity.as_ref().and_then(|identity| self.identities.get_mut(identity));
        if let Some((_, bound)) = counts {
            *bound += 1;
            self.bound_max = self.bound_max.max(*bound);
        }
    }

    fn closed(&mut self, at: ConnAt) {
        let Some(Known { identity: Some(identity), bound: was_bound }) = self.conns.remove(&at) else {
            return;
        };
        let Some((conns, bound)) = self.identities.get_mut(&identity) else { return };
        *conns -= 1;
        *bound -= u32::from(was_bound);
        if *conns == 0 {
            self.identities.remove(&identity);
        }
    }
}

/// The handler of one shard.
struct Doorman {
    news: Sender<News>,
}

impl Doorman {
    /// Nobody listens any more after an error elsewhere; then there is nothing to tell.
    fn tell(&self, news: News) {
        let _ = self.news.send(news);
    }
}

impl Handler for Doorman {
    type Protocol = Lines;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        self.tell(News::Opened(conn.at()));
    }

    fn received(&mut self, conn: &mut Conn<'_>, line: &[u8]) {
        self.tell(News::Announced(conn.at(), Identity::new(line)));
        if conn.claim(line).is_err() {
            conn.close(); // Not what the devices of this demo send.
        }
    }

    fn claimed(&mut self, conn: &mut Conn<'_>, epoch: u64) {
        self.tell(News::Claimed(conn.at()));
        if conn.send(format!("claimed {epoch}\n").into()).is_err() {
            conn.close();
        }
    }

    fn closed(&mut self, conn: &mut Conn<'_>, _closed: &Closed) {
        self.tell(News::Closed(conn.at()));
    }
}

#[cfg(test)]
mod tests {
    use heartring::{ConnId, ShardId};

    use super::*;

    fn conn(slot: u32) -> ConnAt {
        ConnAt { shard: ShardId(0), conn: ConnId::new(slot, 0) }
    }

    fn arrive(book: &mut Book, slot: u32) {
        book.enter(&News::Opened(conn(slot)));
        book.enter(&News::Announced(conn(slot), Identity::from("pump")));
    }

    #[test]
    fn a_takeover_is_two_connections_and_one_holder() {
        let mut book = Book::default();
        arrive(&mut book, 0);
        book.enter(&News::Claimed(conn(0)));
        arrive(&mut book, 1);
        book.enter(&News::Closed(conn(0)));
        book.enter(&News::Claimed(conn(1)));
        assert_eq!((book.conns_max, book.bound_max, book.open()), (2, 1, 1));
        book.enter(&News::Closed(conn(1)));
        assert_eq!((book.open(), book.identities.len()), (0, 0));
    }

    #[test]
    fn two_holders_at_once_are_noticed() {
        let mut book = Book::default();
        for slot in [0, 1] {
            arrive(&mut book, slot);
            book.enter(&News::Claimed(conn(slot)));
        }
        assert_eq!(book.bound_max, 2);
    }
}
