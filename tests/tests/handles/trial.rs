//! A gateway of several shards with a board, and devices that it knows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use heartring::{Bytes, Config, ConnAt, Gateway, Handle, MailError, Running, ShardId, Summary};
use heartring_tests::{Device, On};

use super::talker::{Board, Habit, Talker};

/// Every test ends with [`Trial::finish`].
pub(crate) struct Trial {
    running: Option<Running>,
    pub(crate) handle: Handle,
    pub(crate) board: Arc<Board>,
}

/// The configuration of these tests.
pub(crate) fn config(on: On, shards: u16) -> Config {
    Config { shards: Some(shards), ..on.config(Duration::from_secs(30)) }
}

impl Trial {
    pub(crate) fn begin(config: Config) -> Self {
        Self::begin_with(Gateway::new(config), Habit::Quiet)
    }

    pub(crate) fn begin_with(gateway: Gateway, habit: Habit) -> Self {
        let board = Arc::new(Board::default());
        let (its_board, its_handle) = (Arc::clone(&board), gateway.handle());
        let running = gateway
            .listen("127.0.0.1:0")
            .start(move |shard| Talker::new(shard, &its_board, &its_handle, habit))
            .expect("the gateway starts");
        Self { handle: running.handle(), running: Some(running), board }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.running.as_ref().expect("it runs until finish").addrs()[0]
    }

    /// So many devices, each of which the gateway has taken, and where they are.
    pub(crate) fn devices(&self, count: usize) -> Vec<(Device, ConnAt)> {
        let devices: Vec<Device> = (0..count).map(|_| Device::connect(self.addr())).collect();
        let place = |device: Device| {
            let at = self.board.wait("connection", |notes| {
                notes.opened.iter().find(|(peer, _)| *peer == device.addr()).map(|&(_, at)| at)
            });
            (device, at)
        };
        devices.into_iter().map(place).collect()
    }

    /// A device that holds an identity, and the epoch of its claim.
    pub(crate) fn claimant(&self, identity: &str) -> (Device, u64) {
        let device = Device::connect_and_send(self.addr(), format!("claim {identity}\n").as_bytes());
        let epoch = self.board.wait("grant", |notes| {
            notes.claimed.iter().find(|(peer, _)| *peer == device.addr()).map(|&(_, epoch)| epoch)
        });
        (device, epoch)
    }

    /// Has a shard stand still until the board releases it.
    pub(crate) fn hold(&self, shard: ShardId) {
        self.handle.post(shard, Bytes::from_static(b"hold")).expect("it is idle");
        self.board.wait("hold", |notes| notes.holding.contains(&shard).then_some(()));
    }

    /// The gateway, to be joined by the test.
    pub(crate) fn take(mut self) -> Running {
        self.running.take().expect("it is taken once")
    }

    /// Stops the gateway; nothing may be left.
    pub(crate) fn finish(mut self) -> Summary {
        self.board.release();
        let running = self.running.take().expect("finish is called once");
        running.stop();
        let summary = running.join().expect("no shard fails");
        assert_eq!(summary.ledger_open, 0, "something is still open");
        summary
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.board.release(); // A shard that stands still would not stop.
        let unfinished = self.running.is_some() && !thread::panicking();
        assert!(!unfinished, "the test forgot Trial::finish");
    }
}

/// Tries again while a mailbox is full.
pub(crate) fn insist(mut put: impl FnMut() -> Result<(), MailError>) -> Result<(), MailError> {
    loop {
        match put() {
            Err(MailError::Full(_)) => thread::yield_now(),
            result => return result,
        }
    }
}

/// The numbers of the messages `SENDER NUMBER` of one sender, in the order in which they came.
pub(crate) fn numbers<'a>(messages: impl Iterator<Item = &'a Bytes>, sender: &impl ToString) -> Vec<u32> {
    let prefix = format!("{} ", sender.to_string());
    let number = |message: &Bytes| {
        let text = String::from_utf8_lossy(message);
        text.strip_prefix(&prefix).map(|number| number.parse().expect("a number"))
    };
    messages.filter_map(number).collect()
}
