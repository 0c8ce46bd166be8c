//! The clients: several threads that claim, talk, leave and break off as their dice say.
//!
//! What each thread does follows from the seed. When it meets what the gateway and the other threads do does not, so a seed
//! repeats a crowd, not an interleaving.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use heartring::Instant;
use heartring_socket::now;
use heartring_tests::Dice;
use socket2::SockRef;

use super::history::Manner;
use super::witness::SILENT_DEAD_WITHIN;

/// Few enough that nearly every claim finds a holder.
const BUSY_IDENTITIES: u64 = 50;

/// Claimed seldom enough that a silent holder lives to its deadline.
const QUIET_IDENTITIES: u64 = 1000;

/// Clients of one thread that claim one identity at the same moment.
const VOLLEY_MAX: u64 = 4;

/// After how many volleys a thread looks at all of its clients, and drops those that were cut.
const VOLLEYS_PER_LOOK: u64 = 16;

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) gateway: SocketAddr,
    pub(crate) seed: u64,
    pub(crate) threads: u64,
    pub(crate) claims_per_thread: u64,
    /// Nobody leaves before it is superseded.
    pub(crate) everybody_stays: bool,
}

/// What is left of a crowd: the clients that are not known to be cut.
pub(crate) struct Remnant {
    clients: Vec<Client>,
    pub(crate) connected: u64,
}

impl Crowd {
    /// Has every client make its claim, and everybody but those that stay leave.
    pub(crate) fn play(self) -> Remnant {
        let gangs = (0..self.threads).map(|nth| {
            let seed = self.seed.wrapping_mul(self.threads).wrapping_add(nth);
            let gang =
                Gang { crowd: self, dice: Dice::new(seed), clients: Vec::new(), agenda: VecDeque::new() };
            thread::spawn(move || gang.play())
        });
        let gangs: Vec<_> = gangs.collect();
        let clients = gangs.into_iter().flat_map(|gang| gang.join().expect("a gang does not panic"));
        Remnant { clients: clients.collect(), connected: self.threads * self.claims_per_thread }
    }
}

impl Remnant {
    /// Lets everybody go, in order.
    pub(crate) fn leave(self) {
        for client in self.clients {
            // One that was cut has gone already.
            let _ = client.stream.shutdown(Shutdown::Write);
        }
    }
}

/// The clients of one thread.
struct Gang {
    crowd: Crowd,
    dice: Dice,
    clients: Vec<Client>,
    /// What is to be done later, in the order in which it was thought of.
    agenda: VecDeque<(Instant, Later)>,
}

enum Later {
    /// A silent client says something, perhaps too late.
    Speak(Client),
    /// Somebody claims the identity of a silent client, perhaps in its grace.
    Succeed(String),
    /// A silent client goes.
    Go(Client),
}

impl Gang {
    fn play(mut self) -> Vec<Client> {
        let mut left = self.crowd.claims_per_thread;
        // Each thing that is done later may claim once more.
        while left > 0 || !self.agenda.is_empty() {
            left -= self.do_what_is_due(left);
            if left == 0 {
                self.wait();
                continue;
            }
            let size = (1 + self.dice.below(VOLLEY_MAX)).min(left);
            let (identity, manners) = self.plan(size);
            self.volley(&identity, &manners);
            left -= size;
            self.chat(&identity);
            if self.dice.below(VOLLEYS_PER_LOOK) == 0 {
                self.clients.retain_mut(|client| !client.is_cut());
            }
        }
        self.clients
    }

    /// Who claims what together.
    fn plan(&mut self, size: u64) -> (String, Vec<Manner>) {
        let busy = format!("busy-{}", self.dice.below(BUSY_IDENTITIES));
        if self.crowd.everybody_stays {
            return (busy, vec![Manner::Stays; size as usize]);
        }
        if size == 1 && self.dice.below(3) == 0 {
            let quiet = format!("quiet-{}", self.dice.below(QUIET_IDENTITIES));
            return (quiet, vec![Manner::FallsSilent]);
        }
        let dice = &mut self.dice;
        let mut manner = || match dice.below(10) {
            0..4 => Manner::Stays,
            4..7 => Manner::Leaves,
            7..9 => Manner::Resets,
            _ => Manner::FallsSilent,
        };
        (busy, (0..size).map(|_| manner()).collect())
    }

    /// Connects all, then has all claim, so that their claims meet.
    fn volley(&mut self, identity: &str, manners: &[Manner]) {
        let connected = manners.iter().map(|&manner| (manner, Client::connect(self.crowd.gateway, identity)));
        let connected: Vec<(Manner, Client)> = connected.collect();
        for (manner, mut client) in connected {
            client.claim(manner, self.dice.below(6) as u32);
            match manner {
                Manner::Stays => self.clients.push(client),
                Manner::Leaves => {
                    let _ = client.stream.shutdown(Shutdown::Write);
                    self.clients.push(client);
                }
                Manner::Resets => {
                    if self.dice.below(2) == 0 {
                        thread::yield_now();
                        client.say_next();
                    }
                    client.reset();
                }
                Manner::FallsSilent => self.fall_silent(client),
            }
        }
    }

    fn fall_silent(&mut self, client: Client) {
        let dead_within = SILENT_DEAD_WITHIN.as_millis() as u64;
        let after = |millis| now() + Duration::from_millis(millis);
        let about_the_deadline = dead_within / 2 + self.dice.below(dead_within);
        let identity = client.identity.clone();
        self.agenda.push_back((after(about_the_deadline), Later::Speak(client)));
        if self.dice.below(2) == 0 {
            let soon_after = about_the_deadline + self.dice.below(dead_within / 2);
            self.agenda.push_back((after(soon_after), Later::Succeed(identity)));
        }
    }

    /// Does what is due; returns how many claims that were.
    fn do_what_is_due(&mut self, left: u64) -> u64 {
        let mut claims = 0;
        for _ in 0..self.agenda.len() {
            let Some((due, later)) = self.agenda.pop_front() else { break };
            match later {
                later if due > now() => self.agenda.push_back((due, later)),
                Later::Speak(mut client) => {
                    client.say_next();
                    self.agenda.push_back((now() + SILENT_DEAD_WITHIN, Later::Go(client)));
                }
                Later::Succeed(identity) if claims < left => {
                    self.volley(&identity, &[Manner::Stays]);
                    claims += 1;
                }
                Later::Succeed(_) => {}
                Later::Go(client) => {
                    let _ = client.stream.shutdown(Shutdown::Write);
                    self.clients.push(client);
                }
            }
        }
        claims
    }

    /// Waits until something is due.
    fn wait(&self) {
        if let Some(due) = self.agenda.iter().map(|(due, _)| *due).min() {
            thread::sleep(due.saturating_since(now()));
        }
    }

    /// Those that stay with this identity go on talking, superseded or not; so does somebody else.
    fn chat(&mut self, identity: &str) {
        let count = self.clients.len() as u64;
        let any = if count > 0 { self.dice.below(count) as usize } else { 0 };
        for (nth, client) in self.clients.iter_mut().enumerate() {
            if nth == any || client.identity == identity {
                client.say_next();
            }
        }
    }
}

struct Client {
    stream: TcpStream,
    identity: String,
    /// How many lines it has sent.
    lines: u32,
}

impl Client {
    fn connect(gateway: SocketAddr, identity: &str) -> Self {
        let stream = TcpStream::connect(gateway).expect("a gateway takes clients");
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        stream.set_nonblocking(true).expect("a socket can be non-blocking");
        Self { stream, identity: identity.into(), lines: 0 }
    }

    /// Claims, with that many lines in the same segment.
    fn claim(&mut self, manner: Manner, lines: u32) {
        let mut text = format!("claim {} {} {lines}\n", self.identity, manner.name());
        text.extend((1..=lines).map(|line| format!("{line}\n")));
        self.lines = lines;
        self.say(&text);
    }

    fn say_next(&mut self) {
        self.lines += 1;
        let line = format!("{}\n", self.lines);
        self.say(&line);
    }

    /// Lines are short and the gateway reads them, so a socket takes all of a text or has been cut.
    fn say(&mut self, text: &str) {
        if let Ok(count) = self.stream.write(text.as_bytes()) {
            assert_eq!(count, text.len(), "the gateway does not read");
        }
    }

    /// Whether the gateway has ended the connection.
    fn is_cut(&mut self) -> bool {
        let mut words = [0; 256];
        loop {
            match self.stream.read(&mut words) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
        }
    }

    fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER can be set");
    }
}
