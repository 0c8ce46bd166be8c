//! The end of an episode: what is awaited, and what is looked at.

use std::ops::Range;
use std::time::Duration;

use super::checks::{Checks, Promise};
use super::episode::{Deeds, Group};
use super::footing::Footing;
use super::judge::{Fate, Measure, judge, was_silent};
use super::stage::{Stage, Stop};
use super::words::{Act, End, Ending, Look, Truth};
use crate::duration::show;

/// Devices that connect after each episode.
const VISITORS: u32 = 20;
/// Beyond the allowance: one SYN that is lost is sent again after a second.
const VISIT_WITHIN: Duration = Duration::from_millis(1200);
/// How long nothing may change before what is awaited is given up: far above every bound that is checked.
const PATIENCE: Duration = Duration::from_secs(5);
/// An orderly close has its own end (`drain_within`); the kernel's last states pass in this time.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);

/// What an episode comes to.
#[derive(Default)]
pub(super) struct Account {
    pub(super) checks: Checks,
    pub(super) victims: u64,
    pub(super) lateness: Vec<Duration>,
    /// Healthy devices that the machine kept from beating for longer than the deadline.
    pub(super) starved: u64,
    pub(super) footing: Footing,
    pub(super) note: Option<String>,
}

impl Stage<'_> {
    /// Awaits the ends of all victims, has devices connect anew, and looks at every promise.
    pub(super) fn conclude(&mut self, deeds: Deeds) -> Result<Account, Stop> {
        let mut account = Account { note: deeds.note, ..Account::default() };
        self.mourn(&deeds.groups)?;
        let accounts = self.hear_victims(deeds.groups)?;
        self.restore()?;
        account.victims = accounts.iter().map(|(_, truths)| truths.len() as u64).sum();
        let measure = self.measure(account.victims as u32, deeds.restarted)?;
        for (group, truths) in &accounts {
            for truth in truths {
                let endings = self.endings.get(&truth.device).map_or(&[][..], Vec::as_slice);
                if group.fate == Fate::Lives && starved(truth, endings, measure.dead_within) {
                    account.starved += 1;
                } else {
                    account.lateness.extend(judge(&mut self.checks, group.fate, truth, endings, measure));
                }
            }
            self.see_off(group, truths, measure)?;
            if let (Fate::FallsSilent { .. }, None) = (group.fate, &account.note) {
                account.note = self.verdicts_within(&group.devices);
            }
        }
        self.receive_visitors(measure)?;
        self.see_healthy(measure, &mut account)?;
        self.victims.forget()?;
        account.footing = self.settle()?;
        account.checks = std::mem::take(&mut self.checks);
        self.endings.clear();
        Ok(account)
    }

    /// Waits until all who must end are reported.
    fn mourn(&mut self, groups: &[Group]) -> Result<(), Stop> {
        let within = self.liveness.dead_within + self.liveness.grace + PATIENCE;
        for group in groups.iter().filter(|group| group.fate.ends()) {
            let devices = group.devices.clone();
            self.until(within, |stage| Ok(stage.reported(&devices) == devices.len()))?;
        }
        Ok(())
    }

    fn hear_victims(&mut self, groups: Vec<Group>) -> Result<Vec<(Group, Vec<Truth>)>, Stop> {
        let one = |mut group: Group| {
            let truths = match group.truths.take() {
                Some(truths) => truths,
                None => self.tell(group.devices.clone())?,
            };
            Ok((group, truths))
        };
        groups.into_iter().map(one).collect()
    }

    /// Undoes whatever was done to the network and the processes.
    pub(super) fn restore(&mut self) -> Result<(), Stop> {
        if self.network.can_lose().is_ok() {
            self.network.heal().map_err(Stop::Impossible)?;
        }
        Ok(())
    }

    /// An episode that could not be played leaves no victims.
    pub(super) fn abandon(&mut self) -> Result<(), Stop> {
        let devices = self.victims.devices();
        self.life.connected +=
            self.victims.tell(devices)?.iter().filter(|truth| truth.connected_at.is_some()).count() as u64;
        self.victims.forget()?;
        self.settle()?;
        self.checks = Checks::default();
        self.endings.clear();
        Ok(())
    }

    fn measure(&mut self, victims: u32, restarted: bool) -> Result<Measure, Stop> {
        let look = self.look()?;
        let before = if restarted { 0 } else { self.look.stalls };
        let allowance = self.allowance(victims, look.stalls.saturating_sub(before)).total();
        self.look = look;
        Ok(Measure { dead_within: self.liveness.dead_within, allowance })
    }

    /// From the first verdict on these devices to the last.
    fn verdicts_within(&self, devices: &Range<u32>) -> Option<String> {
        let endings = devices.clone().filter_map(|device| self.endings.get(&device)?.first());
        let decided_at = endings.map(|ending| ending.decided_at);
        let (first, last) = (decided_at.clone().min()?, decided_at.max()?);
        Some(format!("first to last verdict {}", show(Duration::from_nanos(last - first))))
    }

    /// Survivors close in order, after which all that they ever sent must have arrived.
    fn see_off(&mut self, group: &Group, truths: &[Truth], measure: Measure) -> Result<(), Stop> {
        if group.fate.ends() {
            return Ok(());
        }
        let survives = |truth: &&Truth| truth.end == End::Open && !self.endings.contains_key(&truth.device);
        let survivors: Vec<u32> = truths.iter().filter(survives).map(|truth| truth.device).collect();
        self.close(&group.devices, &survivors, measure)
    }

    fn close(&mut self, devices: &Range<u32>, open: &[u32], measure: Measure) -> Result<(), Stop> {
        self.victims.act(devices.clone(), Act::Close)?;
        self.until(PATIENCE, |stage| Ok(open.iter().all(|device| stage.endings.contains_key(device))))?;
        let fate = Fate::EndsAtOnce { causes: &["peer_closed"], since: None };
        for truth in self.victims.tell(devices.clone())?.iter().filter(|truth| open.contains(&truth.device)) {
            let endings = self.endings.get(&truth.device).map_or(&[][..], Vec::as_slice);
            judge(&mut self.checks, fate, truth, endings, measure);
        }
        Ok(())
    }

    fn receive_visitors(&mut self, measure: Measure) -> Result<(), Stop> {
        let visitors = self.begin_to_connect(VISITORS)?;
        let bound = VISIT_WITHIN + measure.allowance;
        self.await_served(&visitors, bound + PATIENCE)?;
        let truths = self.tell(visitors.clone())?;
        for truth in &truths {
            let waited = truth.served_at.map(|at| Duration::from_nanos(at.saturating_sub(truth.came_at)));
            self.checks.look(Promise::ServedAgain, waited.is_some_and(|waited| waited <= bound), || {
                let waited =
                    waited.map_or_else(|| "never".to_owned(), |waited| format!("after {}", show(waited)));
                format!("device {} was served {waited}; {} are allowed", truth.device, show(bound))
            });
        }
        let served = truths.iter().filter(|truth| truth.served_at.is_some()).map(|truth| truth.device);
        self.close(&visitors, &served.collect::<Vec<_>>(), measure)
    }

    fn see_healthy(&mut self, measure: Measure, account: &mut Account) -> Result<(), Stop> {
        let mut lost = false;
        for truth in self.healthy.tell(self.healthy_devices.clone())? {
            let endings = self.endings.get(&truth.device).map_or(&[][..], Vec::as_slice);
            lost |= !endings.is_empty() || truth.end != End::Open;
            if starved(&truth, endings, measure.dead_within) {
                account.starved += 1;
            } else {
                judge(&mut self.checks, Fate::Lives, &truth, endings, measure);
            }
        }
        if lost {
            self.populate()?;
        }
        Ok(())
    }

    /// Waits until nothing goes on but the healthy devices, and looks at what is left and what was counted.
    fn settle(&mut self) -> Result<Footing, Stop> {
        let until = Self::now() + SETTLES_WITHIN;
        let (look, footing) = loop {
            let (look, footing) = (self.look()?, self.footing());
            let is_first = self.start == Footing::default();
            let conns = look.conns == u64::from(self.sizes.healthy);
            if (conns && (is_first || footing.is_back_to(&self.start))) || Self::now() >= until {
                break (look, footing);
            }
            self.pause(Duration::from_millis(20))?;
        };
        self.check_counters(&look);
        let (conns, start) = (look.conns, self.start);
        self.checks.look(Promise::NothingLeft, conns == u64::from(self.sizes.healthy), || {
            format!("{conns} connections are left, and {} devices", self.sizes.healthy)
        });
        self.checks.look(Promise::NothingLeft, footing.is_back_to(&start), || {
            format!("it held {start:?}, and now {footing:?}")
        });
        self.look = look;
        Ok(footing)
    }

    /// The gateway's own counters against those who were there.
    fn check_counters(&mut self, look: &Look) {
        let Look { silent_shards, accepted, early, .. } = *look;
        let connected = self.life.connected;
        self.checks.look(Promise::CountersAgree, accepted == connected, || {
            let closed = &look.closed;
            format!("the gateway accepted {accepted}, and {connected} devices were connected; it closed {closed:?}")
        });
        self.checks.look(Promise::CountersAgree, look.closed == self.life.closed, || {
            format!("the gateway closed {:?}, and its handlers were told {:?}", look.closed, self.life.closed)
        });
        self.checks
            .look(Promise::NeverEarly, early == 0, || format!("the gateway counts {early} early verdicts"));
        self.checks.look(Promise::CountersAgree, silent_shards == 0, || {
            format!("{silent_shards} shards did not answer")
        });
    }

    /// The gateway has drained: all are told, and nothing is open.
    pub(super) fn end_life(&mut self, look: &Look, ledger_open: u64) {
        self.check_counters(look);
        self.checks.look(Promise::LedgerZero, ledger_open == 0 && look.conns == 0, || {
            format!("{ledger_open} are open after the stop, and {} connections never ended", look.conns)
        });
        for device in self.healthy_devices.clone() {
            let endings = self.endings.remove(&device).unwrap_or_default();
            let causes: Vec<_> = endings.iter().map(|ending| ending.cause.as_str()).collect();
            self.checks.look(Promise::ReportedOnce, causes == ["draining"], || {
                format!("device {device} was sent away as {causes:?}")
            });
        }
    }
}

fn starved(truth: &Truth, endings: &[Ending], dead_within: Duration) -> bool {
    endings.first().is_some_and(|ending| {
        ending.cause == "heartbeat_missed" && was_silent(truth, ending.decided_at, dead_within)
    })
}
