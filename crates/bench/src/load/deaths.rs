//! Devices that die without a FIN: they stop beating, and their connections stay open until the server resets them. Whoever is
//! reset before its deadline, or although it beats, is a verdict that should not have been.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::ops::ControlFlow::{self, Break, Continue};
use std::os::fd::OwnedFd;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::thread::set_current_timer_slack;
use socket2::Socket;

use super::herd::{Herd, Sight};
use super::window::counts;
use super::{Link, LoadPlan, fleet};
use crate::clock;
use crate::control::{Deaths, Latency, LoadReport, LoadResult};
use crate::workload::{LOADING, LOADING_MESSAGE, Scene, Workload};

const EVENTS_MAX: usize = 512;

/// How long the generator sleeps at most, so that it hears the suite.
const TURN_NS_MAX: u64 = 50_000_000;

/// How many devices connect between two looks at whose beat is due.
const CONNECTS_PER_LOOK: u32 = 16;

/// Single deaths are this far apart: a verdict is over long before the next one is due.
const GAP_NS: u64 = 3_000_000;
/// In a fleet of many generators, each lets its part die within this time.
const SCALE_DYING_NS: u64 = 5_000_000_000;

/// How long after the last deadline a verdict may still come before it counts as missing.
const PATIENCE_NS: u64 = 10_000_000_000;

/// Event data of those that keep the server busy begin here.
const LOADING_BASE: u64 = 1 << 32;

/// ```text
/// Living ── a deadline has passed ──▶ Steady ── "begin" ──▶ Dying ── all are seen, or nobody waits any more ──▶ Told
/// ```
enum Phase {
    Living { until: u64 },
    Steady,
    Dying { since: u64, cpu_ns_before: u64, give_up_at: u64 },
    Told,
}

struct Scenery<'a> {
    plan: &'a LoadPlan,
    herd: Herd,
    epoll: OwnedFd,
    loading: Vec<Socket>,
    /// Those that are to die, and have not, in order.
    doomed: VecDeque<u32>,
    gap_ns: u64,
    next_death: u64,
    /// The last instant at which a healthy verdict could be due.
    last_deadline: u64,
    deaths: Deaths,
    dying: u64,
    seen_ns: Histogram<u64>,
    phase: Phase,
}

pub(super) fn drive(plan: &LoadPlan, link: &mut Link<'_>) -> Result<(), String> {
    // Beats and deaths are due in time.
    set_current_timer_slack(NonZeroU64::new(1)).map_err(|e| format!("timer slack: {e}"))?;
    let mut scenery = Scenery::connect(plan)?;
    let mut events = Vec::with_capacity(EVENTS_MAX);
    while scenery.turn(clock::now_ns(), link).is_continue() {
        scenery.wait(&mut events)?;
        for event in &events {
            scenery.handle(event)?;
        }
    }
    Ok(())
}

impl Scenery<'_> {
    fn connect(plan: &LoadPlan) -> Result<Scenery<'_>, String> {
        let failed = |e: Errno| format!("generator: {e}");
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(failed)?;
        let (first, end) = plan.devices.unwrap_or((0, devices(plan.workload)));
        let mut herd = Herd::new(plan);
        for index in first..end {
            let device = herd.connect(plan, index)?;
            // Nothing is ever sent to them: an event is an end.
            let interest = EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&epoll, herd.conn(device), EventData::new_u64(device.into()), interest)
                .map_err(failed)?;
            if device % CONNECTS_PER_LOOK == 0 {
                herd.beat_due(clock::now_ns());
            }
        }
        let loading = connect_loading(plan, &epoll)?;
        herd.spread(clock::now_ns());
        // For the last one to have been heard more than once.
        let settling = (plan.dead_within / 2).min(Duration::from_secs(1)).max(plan.warmup);
        let until = clock::now_ns() + settling.as_nanos() as u64;
        let (doomed, gap_ns) = doomed(plan.workload, herd.len());
        Ok(Scenery {
            plan,
            herd,
            epoll,
            loading,
            gap_ns,
            next_death: 0,
            last_deadline: 0,
            deaths: Deaths::default(),
            dying: doomed.len() as u64,
            doomed,
            // From 1 µs to 100 s with three digits; what is outside is counted at the edge.
            seen_ns: Histogram::new_with_bounds(1_000, 100_000_000_000, 3).expect("valid bounds"),
            phase: Phase::Living { until },
        })
    }

    /// Does what is due and moves on where it is time to; breaks when the suite has closed the link.
    fn turn(&mut self, now: u64, link: &mut Link<'_>) -> ControlFlow<()> {
        self.herd.beat_due(now);
        match self.phase {
            Phase::Living { until } if now >= until => {
                self.phase = Phase::Steady;
                (link.report)(LoadReport::Steady);
            }
            Phase::Living { .. } => {}
            Phase::Steady | Phase::Told => match link.begin.try_recv() {
                Ok(()) => self.begin(link),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Break(()),
            },
            Phase::Dying { since, cpu_ns_before, give_up_at } => {
                self.let_die(now);
                let all_seen = self.doomed.is_empty() && self.deaths.seen == self.dying;
                // Whoever is accused falsely is accused by the last deadline.
                if now >= give_up_at || (all_seen && now >= self.last_deadline) {
                    self.phase = Phase::Told;
                    (link.report)(LoadReport::Ended(self.result(now - since, cpu_ns_before)));
                }
            }
        }
        Continue(())
    }

    fn begin(&mut self, link: &mut Link<'_>) {
        let now = clock::now_ns();
        let lasts = self.gap_ns * self.dying + self.dead_within_ns();
        self.next_death = now;
        self.phase = Phase::Dying {
            since: now,
            cpu_ns_before: clock::process_cpu_ns(),
            give_up_at: now + lasts + PATIENCE_NS,
        };
        (link.report)(LoadReport::Begun);
    }

    /// Lets those die whose time has come. Where all die in one instant, each beats a last time, so that their deadlines are
    /// as close together as the beats.
    fn let_die(&mut self, now: u64) {
        while now >= self.next_death {
            let Some(device) = self.doomed.pop_front() else { return };
            if self.gap_ns == 0 {
                self.herd.beat(device);
            }
            self.herd.die(device);
            self.last_deadline = clock::now_ns() + self.dead_within_ns();
            self.next_death += self.gap_ns;
        }
    }

    fn wait(&self, events: &mut Vec<Event>) -> Result<(), String> {
        events.clear();
        let now = clock::now_ns();
        let next_death = self.doomed.front().filter(|_| matches!(self.phase, Phase::Dying { .. }));
        let next_death = next_death.map(|_| self.next_death);
        let next = [self.herd.next_due(), next_death].into_iter().flatten().min().unwrap_or(u64::MAX);
        let rest = clock::timespec(next.saturating_sub(now).min(TURN_NS_MAX));
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&rest)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(format!("generator: {error}")),
        }
    }

    fn handle(&mut self, event: &Event) -> Result<(), String> {
        let who = event.data.u64();
        if let Some(device) = who.checked_sub(LOADING_BASE) {
            return converse(&self.loading[device as usize]);
        }
        match self.herd.ended(who as u32, clock::now_ns()) {
            Some(Sight::Late(late_ns)) => {
                self.deaths.seen += 1;
                self.seen_ns.saturating_record(late_ns);
            }
            Some(Sight::Early) => {
                self.deaths.seen += 1;
                self.deaths.early += 1;
            }
            Some(Sight::False) => self.deaths.false_closes += 1,
            None => {}
        }
        Ok(())
    }

    fn dead_within_ns(&self) -> u64 {
        self.plan.dead_within.as_nanos() as u64
    }

    fn result(&self, elapsed_ns: u64, cpu_ns_before: u64) -> LoadResult {
        let quantile = |q| self.seen_ns.value_at_quantile(q);
        let seen = Latency { p50_ns: quantile(0.5), p99_ns: quantile(0.99), max_ns: self.seen_ns.max() };
        let undetected = self.dying - self.deaths.seen;
        LoadResult {
            units: self.dying,
            elapsed_ns,
            generator_cpu_ns: clock::process_cpu_ns() - cpu_ns_before,
            histogram: counts(&self.seen_ns),
            seen: Some(seen),
            deaths: Some(Deaths { undetected, ..self.deaths }),
            ..LoadResult::default()
        }
    }
}

/// Devices that beat.
fn devices(workload: Workload) -> u32 {
    let Workload::Detect { connections, .. } = workload else { return workload.connections() };
    connections
}

/// Who dies, of `herd` devices, and how far apart their deaths are. They are spread over the herd.
fn doomed(workload: Workload, herd: u32) -> (VecDeque<u32>, u64) {
    let of_all = |deaths: u32, connections: u32| {
        let share = u64::from(deaths) * u64::from(herd) / u64::from(connections.max(1));
        let every = (connections / deaths.max(1)).max(1) as usize;
        (0..herd).step_by(every).take(share.max(1) as usize).collect::<VecDeque<u32>>()
    };
    match workload {
        Workload::Detect { scene: Scene::Mass, .. } => ((0..herd).collect(), 0),
        Workload::Detect { scene: Scene::Single | Scene::Loaded, connections, deaths } => {
            (of_all(deaths, connections), GAP_NS)
        }
        Workload::Scale { connections, deaths, .. } => {
            let doomed = of_all(deaths, connections);
            let gap = SCALE_DYING_NS / (doomed.len() as u64).max(1);
            (doomed, gap)
        }
        Workload::Echo { .. }
        | Workload::Beats { .. }
        | Workload::Storm { .. }
        | Workload::Fanout { .. }
        | Workload::Memory { .. } => (VecDeque::new(), 0),
    }
}

/// Those that keep the server busy, with their first message under way.
fn connect_loading(plan: &LoadPlan, epoll: &OwnedFd) -> Result<Vec<Socket>, String> {
    let Workload::Detect { scene: Scene::Loaded, connections, .. } = plan.workload else {
        return Ok(Vec::new());
    };
    let connect = |nth: u32| {
        let conn = fleet::connect(plan, connections + nth, LOADING_MESSAGE)
            .map_err(|e| format!("busy connection {}: {e}", nth + 1))?;
        let interest = EventFlags::IN | EventFlags::RDHUP;
        epoll::add(epoll, &conn, EventData::new_u64(LOADING_BASE + u64::from(nth)), interest)
            .map_err(|e| format!("generator: {e}"))?;
        Ok(conn)
    };
    (0..LOADING).map(connect).collect()
}

/// Takes the echo, which arrives whole, and asks again.
fn converse(conn: &Socket) -> Result<(), String> {
    let mut echo = [0; LOADING_MESSAGE.len()];
    match recv(conn, &mut echo[..], RecvFlags::empty()) {
        Ok((0, _)) => Err("the server closed a busy connection".into()),
        Ok(_) => match send(conn, LOADING_MESSAGE, SendFlags::NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("busy connection: send: {error}")),
        },
        Err(Errno::AGAIN | Errno::INTR) => Ok(()),
        Err(error) => Err(format!("busy connection: recv: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_are_spread_over_the_herd_and_shared_among_generators() {
        let single = Workload::Detect { scene: Scene::Single, connections: 30, deaths: 10 };
        assert_eq!(
            doomed(single, 30).0.into_iter().collect::<Vec<_>>(),
            (0..30).step_by(3).collect::<Vec<_>>()
        );
        let scale = Workload::Scale { connections: 100_000, shards: 6, rate: 1, deaths: 1000 };
        let (doomed, gap) = doomed(scale, 19_000);
        assert_eq!(doomed.len(), 190);
        assert!(gap > 0 && doomed.back().is_some_and(|last| *last < 19_000));
    }
}
