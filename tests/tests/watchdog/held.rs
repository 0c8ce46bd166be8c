//! A gateway whose shards a test can hold in the middle of a turn, and its clients.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use heartring::{Config, Conn, Error, Gateway, Handler, Health, Lines, Running, ShardId, Summary};
use heartring_socket::now;
use heartring_tests::Gate;

/// How long something that should come soon is waited for. The machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway on the loopback. Every test ends with [`Held::finish`], or with [`Held::join`] if it fails.
pub(crate) struct Held {
    running: Running,
    gate: Arc<Gate>,
}

/// Obeys its clients: see [`Client`].
struct Script {
    shard: ShardId,
    gate: Arc<Gate>,
}

impl Held {
    pub(crate) fn start(config: Config) -> Self {
        let gate = Arc::new(Gate::default());
        let its_gate = Arc::clone(&gate);
        let make = move |shard| Script { shard, gate: Arc::clone(&its_gate) };
        let running = Gateway::new(config).listen("127.0.0.1:0").start(make).expect("the gateway starts");
        Self { running, gate }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.running.addrs()[0]
    }

    pub(crate) fn health(&self) -> Health {
        self.running.health()
    }

    /// Waits until the health is as it should be.
    pub(crate) fn wait(&self, what: &str, is_it: impl Fn(&Health) -> bool) -> Health {
        let give_up_at = now() + PATIENCE;
        loop {
            let health = self.health();
            if is_it(&health) {
                return health;
            }
            assert!(now() < give_up_at, "not seen: {what}: {health:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets the shard that was told to hold go on, and those that are told later.
    pub(crate) fn release(&self) {
        self.gate.open();
    }

    /// Waits until a shard is in the handler that holds it: from then on it accepts nobody.
    pub(crate) fn is_holding(&self) {
        self.gate.wait_for_somebody();
    }

    pub(crate) fn stop(&self) {
        self.running.stop();
    }

    /// Stops the gateway and checks that it leaves nothing: every op and socket is closed, and the port is free.
    pub(crate) fn finish(self) -> Summary {
        self.release();
        self.stop();
        let summary = self.join().expect("no shard fails");
        assert_eq!(summary.ledger_open, 0, "something is still open");
        summary
    }

    /// Waits until the gateway has ended and checks that its port is free.
    pub(crate) fn join(self) -> Result<Summary, Error> {
        let addr = self.addr();
        let result = self.running.join();
        TcpListener::bind(addr).expect("the port is free");
        result
    }
}

impl Handler for Script {
    type Protocol = Lines;

    fn received(&mut self, conn: &mut Conn<'_>, line: &[u8]) {
        match line {
            b"hold" => self.gate.pass(),
            b"panic" => panic!("a client has asked for it"),
            _ => {
                // Whoever does not listen is another test's.
                let _ = conn.send_copy(&[b'0' + self.shard.0 as u8]);
            }
        }
    }
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn connect(gateway: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&gateway, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// Many, all connected at one time.
    pub(crate) fn connect_many(count: usize, gateway: SocketAddr) -> Vec<Self> {
        (0..count).map(|_| Self::connect(gateway).expect("the kernel takes clients")).collect()
    }

    /// Has its shard stay in the handler until the test releases it.
    pub(crate) fn hold(&mut self) {
        self.0.write_all(b"hold\n").expect("the connection is open");
    }

    /// Has its shard panic.
    pub(crate) fn panic(&mut self) {
        self.0.write_all(b"panic\n").expect("the connection is open");
    }

    /// Asks which shard serves it, and waits for the answer.
    pub(crate) fn ask(&mut self) -> io::Result<usize> {
        self.say()?;
        self.hear()
    }

    /// Asks only.
    pub(crate) fn say(&mut self) -> io::Result<()> {
        self.0.write_all(b"who\n")
    }

    /// Waits for the answer only.
    pub(crate) fn hear(&mut self) -> io::Result<usize> {
        let mut answer = [0];
        self.0.read_exact(&mut answer)?;
        Ok(usize::from(answer[0] - b'0'))
    }
}
