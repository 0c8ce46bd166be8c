//! A gateway whose clients claim identities, and which tells the test everything.
//!
//! A client's line is an instruction: `claim NAME` claims NAME, `length COUNT` claims an identity of COUNT bytes; `close` closes
//! the connection and claims; `hold` keeps the shard's thread until the test lets go. Every line is answered with itself. When a
//! connection is ending, it claims once more.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use heartring::{
    Cause, ClaimError, Closed, Config, Conn, Gateway, Handler, Lines, Refusal, Running, Summary,
};
use heartring_tests::Device;

/// How long a test waits for something that should come soon.
const PATIENCE: Duration = Duration::from_secs(20);

/// Clients stay to the end and do not close: the stop need not wait for them.
pub(crate) const DRAIN_WITHIN: Option<Duration> = Some(Duration::from_millis(100));

/// What the handler was told, or what it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Opened,
    Received(String),
    /// What came of a claim.
    Asked(Result<(), ClaimError>),
    Claimed(u64),
    /// What came of a claim in `closing`, and of one in `closed`.
    AskedTooLate(Result<(), ClaimError>),
    Closed(Closed),
}

/// The gateway.
pub(crate) struct Claims {
    running: Running,
    told: Receiver<(SocketAddr, Told)>,
    /// What nobody has waited for yet.
    heard: RefCell<Vec<(SocketAddr, Told)>>,
    gate: Arc<Mutex<()>>,
}

struct Claimant {
    /// Claimed when a connection is opened.
    at_once: Option<&'static str>,
    told: Sender<(SocketAddr, Told)>,
    gate: Arc<Mutex<()>>,
}

impl Claims {
    pub(crate) fn start(config: Config) -> Self {
        Self::start_claiming(config, None)
    }

    /// One that claims `at_once` for whoever connects.
    pub(crate) fn start_claiming(mut config: Config, at_once: Option<&'static str>) -> Self {
        config.overrides.drain_within = DRAIN_WITHIN;
        let (sender, told) = mpsc::channel();
        let gate = Arc::new(Mutex::new(()));
        let its_gate = Arc::clone(&gate);
        let make = move |_shard| Claimant { at_once, told: sender.clone(), gate: Arc::clone(&its_gate) };
        let running = Gateway::new(config).listen("127.0.0.1:0").start(make).expect("the gateway starts");
        Self { running, told, heard: RefCell::default(), gate }
    }

    /// Closes the gate at which `hold` stands still, until the guard is dropped.
    pub(crate) fn gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connect(&self) -> Device {
        Device::connect(self.running.addrs()[0])
    }

    /// Connects, and sends `line`.
    pub(crate) fn connect_and_say(&self, line: &str) -> Device {
        Device::connect_and_send(self.running.addrs()[0], format!("{line}\n").as_bytes())
    }

    /// Waits until the handler was told `what` of `device`, and forgets what was told of that device before.
    pub(crate) fn wait(&self, device: &Device, what: &Told) {
        self.of(device, |told| (told == what).then_some(()));
    }

    /// Waits for what comes of the next claim of `device`.
    pub(crate) fn asked(&self, device: &Device) -> Result<(), ClaimError> {
        self.of(device, |told| if let Told::Asked(result) = told { Some(*result) } else { None })
    }

    /// Waits for what comes of the next claim of `device` in one of its last calls.
    pub(crate) fn asked_too_late(&self, device: &Device) -> Result<(), ClaimError> {
        self.of(device, |told| if let Told::AskedTooLate(result) = told { Some(*result) } else { None })
    }

    /// Waits for the grant of `device`'s claim: its epoch.
    pub(crate) fn granted(&self, device: &Device) -> u64 {
        self.of(device, |told| if let Told::Claimed(epoch) = told { Some(*epoch) } else { None })
    }

    /// Waits for the end of `device`'s connection.
    pub(crate) fn closed(&self, device: &Device) -> Closed {
        self.of(device, |told| if let Told::Closed(closed) = told { Some(*closed) } else { None })
    }

    /// Waits until somebody is refused.
    pub(crate) fn refusal(&self) -> (Refusal, Closed) {
        self.next(|_, told| match told {
            Told::Closed(closed @ Closed { cause: Cause::Refused(reason), .. }) => Some((*reason, *closed)),
            Told::Closed(_)
            | Told::Opened
            | Told::Received(_)
            | Told::Asked(_)
            | Told::Claimed(_)
            | Told::AskedTooLate(_) => None,
        })
    }

    /// Waits for what `pick` takes of `device`, and forgets what was told of that device before.
    fn of<T>(&self, device: &Device, pick: impl Fn(&Told) -> Option<T>) -> T {
        loop {
            let told = self.next(|peer, told| (peer == device.addr()).then(|| told.clone()));
            if let Some(picked) = pick(&told) {
                return picked;
            }
        }
    }

    /// Waits for the first that `pick` takes, of whomever, and keeps the others for later.
    fn next<T>(&self, pick: impl Fn(SocketAddr, &Told) -> Option<T>) -> T {
        let mut heard = self.heard.borrow_mut();
        loop {
            let found =
                heard.iter().enumerate().find_map(|(at, (peer, told))| Some((at, pick(*peer, told)?)));
            if let Some((at, picked)) = found {
                heard.remove(at);
                return picked;
            }
            let Ok(news) = self.told.recv_timeout(PATIENCE) else {
                panic!("nothing more came; what was not waited for: {heard:?}");
            };
            heard.push(news);
        }
    }

    /// Stops it, and checks that nothing is left.
    pub(crate) fn finish(self) -> Summary {
        self.running.stop();
        let summary = self.running.join().expect("no shard fails");
        assert_eq!(summary.ledger_open, 0, "something is still open");
        summary
    }
}

/// Whether a client is let in: its question is answered, or it is reset.
pub(crate) fn is_let_in(client: &io::Result<TcpStream>) -> bool {
    // The kernel tells of a reset once, to whichever call comes first: a gateway on another core can be quicker than the
    // return of `connect`.
    let connected = client.as_ref().map_err(io::Error::kind);
    let answered = connected.and_then(|stream| asks(stream).map_err(|error| error.kind()));
    if let Err(kind) = answered {
        assert_eq!(kind, ErrorKind::ConnectionReset, "who is not let in is reset");
    }
    answered.is_ok()
}

fn asks(mut client: &TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE)).expect("a read can have a bound");
    client.write_all(b"echo in\n")?;
    let mut answer = [0; 16];
    let count = client.read(&mut answer)?;
    assert_eq!(&answer[..count], b"in\n", "who is let in is answered");
    Ok(())
}

impl Claimant {
    fn tell(&self, conn: &Conn<'_>, told: Told) {
        // A test that has all it waited for does not listen any more.
        let _ = self.told.send((conn.peer(), told));
    }

    fn claim(&self, conn: &mut Conn<'_>, identity: &[u8]) {
        let result = conn.claim(identity);
        self.tell(conn, Told::Asked(result));
    }
}

impl Handler for Claimant {
    type Protocol = Lines;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        self.tell(conn, Told::Opened);
        if let Some(identity) = self.at_once {
            self.claim(conn, identity.as_bytes());
        }
    }

    fn received(&mut self, conn: &mut Conn<'_>, line: &[u8]) {
        let text = String::from_utf8_lossy(line).into_owned();
        self.tell(conn, Told::Received(text.clone()));
        let (verb, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match verb {
            "claim" => self.claim(conn, rest.as_bytes()),
            "length" => self.claim(conn, &vec![b'x'; rest.parse().expect("a length")]),
            "close" => {
                conn.close();
                self.claim(conn, b"closing");
            }
            "hold" => drop(self.gate.lock()),
            _ => {}
        }
        // A client that is ending does not get it.
        let _ = conn.send_copy(&[line, b"\n"].concat());
    }

    fn claimed(&mut self, conn: &mut Conn<'_>, epoch: u64) {
        self.tell(conn, Told::Claimed(epoch));
    }

    fn closing(&mut self, conn: &mut Conn<'_>, _closed: &Closed) {
        let result = conn.claim(b"too late");
        self.tell(conn, Told::AskedTooLate(result));
    }

    fn closed(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        let result = conn.claim(b"too late");
        self.tell(conn, Told::AskedTooLate(result));
        self.tell(conn, Told::Closed(*closed));
    }
}
