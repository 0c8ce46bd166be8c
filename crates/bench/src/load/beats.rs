//! Mostly idle devices: heartbeats, evenly spread over time and over the connections. An open loop: a beat is due when it is
//! due, whatever the server does. Answers are read when the next beat of their connection is due.

use std::num::NonZeroU64;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::thread::{clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::ClockId;

use super::fleet::Fleet;
use super::window::Window;
use super::{Link, LoadPlan};
use crate::clock;

/// How long the generator sleeps at most, so that it hears the suite.
const SLEEP_NS_MAX: u64 = 50_000_000;

/// How many beats a second there are in all, and whether each has an answer.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub(super) rate: u32,
    pub(super) answered: bool,
}

pub(super) fn drive(
    plan: &LoadPlan,
    fleet: &Fleet,
    Pace { rate, answered }: Pace,
    link: &mut Link<'_>,
) -> Result<(), String> {
    // A beat every 200 µs with the default slack of 50 µs would make pairs of some.
    set_current_timer_slack(NonZeroU64::new(1)).map_err(|e| format!("timer slack: {e}"))?;
    let message = plan.workload.message();
    let start = clock::now_ns();
    let mut window = Window::new(plan, start);
    let stride = stride(fleet.len());
    let (mut sent, mut index) = (0_u64, 0);
    loop {
        let now = clock::now_ns();
        if window.turn(now, link).is_break() {
            return Ok(());
        }
        while due(start, sent, rate) <= now {
            if answered {
                hear_answer(fleet, index)?;
            }
            beat(fleet, index, &message)?;
            window.sent();
            sent += 1;
            index = (index + stride) % fleet.len();
        }
        let wake = due(start, sent, rate).min(now + SLEEP_NS_MAX);
        // Interrupted or not, the loop looks at the clock again.
        let _ = clock_nanosleep_absolute(ClockId::Monotonic, &clock::timespec(wake));
    }
}

fn beat(fleet: &Fleet, index: usize, message: &[u8]) -> Result<(), String> {
    match send(fleet.conn(index), message, SendFlags::NOSIGNAL) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("connection {index}: beat: {error}")),
    }
}

/// Takes the answers to earlier beats.
fn hear_answer(fleet: &Fleet, index: usize) -> Result<(), String> {
    let mut answer = [0; 64];
    match recv(fleet.conn(index), &mut answer[..], RecvFlags::empty()) {
        Ok((0, _)) => Err(format!("the server closed connection {index}")),
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
        Err(error) => Err(format!("connection {index}: recv: {error}")),
    }
}

/// When beat number `number` is to be sent; never, where nobody beats.
fn due(start: u64, number: u64, rate: u32) -> u64 {
    if rate == 0 {
        return u64::MAX;
    }
    start + (u128::from(number) * 1_000_000_000 / u128::from(rate)) as u64
}

/// A step through the connections that visits each once per round, but not in the order in which the server
/// accepted them: neighbours in its tables would share cache lines as no real fleet's beats do.
fn stride(conns: usize) -> usize {
    let golden = (conns as f64 * 0.618) as usize;
    (golden..conns).find(|&step| gcd(step, conns) == 1).unwrap_or(1)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_beats_once_per_round() {
        for conns in [1, 2, 3, 10, 100, 997, 5000] {
            let step = stride(conns);
            let mut visited: Vec<_> = (0..conns).map(|turn| turn * step % conns).collect();
            visited.sort_unstable();
            assert!(visited.into_iter().eq(0..conns), "{conns} connections, stride {step}");
        }
    }

    #[test]
    fn beats_are_evenly_spread_and_do_not_drift() {
        assert_eq!(due(7, 3, 3), 7 + 1_000_000_000);
        assert_eq!(due(0, 5000 * 3600, 5000), 3600 * 1_000_000_000);
        assert_eq!(due(7, 0, 0), u64::MAX);
    }
}
