//! What lies on the way: congestion control, ports, and the firewall's memory.

use std::time::Duration;

use super::finding::{Finding, Judgement, Section};
use super::machine::Machine;
use super::settings::Settings;
use crate::duration::show;

const CONNTRACK_MAX: &str = "net.netfilter.nf_conntrack_max";
const CONNTRACK_ESTABLISHED: &str = "net.netfilter.nf_conntrack_tcp_timeout_established";

pub(crate) fn section(machine: &Machine, settings: &Settings) -> Section {
    let mut findings = vec![congestion(machine), ports(machine, settings)];
    findings.extend(conntrack(machine, settings));
    Section { subject: "the way through the network", findings }
}

fn congestion(machine: &Machine) -> Finding {
    let name = "net.ipv4.tcp_congestion_control";
    let chosen = match machine.text(name) {
        Ok(chosen) => chosen,
        Err(unread) => return Finding::unread(name, &unread, "it cannot be judged from here"),
    };
    let available = machine.text("net.ipv4.tcp_available_congestion_control");
    let available = available.unwrap_or_else(|unread| unread.to_string());
    let judgement = if chosen.starts_with("bbr") {
        Judgement::note(
            "paces with timers: good for a gateway on real networks; it distorts benchmarks on loopback, where `heartring bench` takes cubic",
        )
    } else {
        Judgement::ok("any will do for heartbeats")
    };
    Finding::new(name, format!("{chosen} (of {available})"), judgement)
}

fn ports(machine: &Machine, settings: &Settings) -> Finding {
    let name = "net.ipv4.ip_local_port_range";
    Finding::judge(name, machine.numbers::<u32, 2>(name), |[low, high]| {
        let ports = u64::from(high.saturating_sub(low)) + 1;
        let conns = u64::from(settings.conns);
        if ports < conns {
            Judgement::note(format!(
                "bounds who connects, not this gateway: a proxy or load generator set like this makes {ports} connections per source and destination address, and {conns} take {} source addresses",
                conns.div_ceil(ports)
            ))
        } else {
            Judgement::ok(format!(
                "bounds who connects, not this gateway: a proxy or load generator set like this makes {ports} connections per source and destination address"
            ))
        }
    })
}

fn conntrack(machine: &Machine, settings: &Settings) -> Vec<Finding> {
    if machine.lacks(CONNTRACK_MAX) {
        let meaning = "no firewall of this machine keeps a memory of connections that could forget a peer";
        return vec![Finding::new(CONNTRACK_MAX, "not loaded", Judgement::ok(meaning))];
    }
    vec![conntrack_max(machine, settings), conntrack_established(machine, settings)]
}

fn conntrack_max(machine: &Machine, settings: &Settings) -> Finding {
    let tracked = machine.number::<u64>("net.netfilter.nf_conntrack_count").map_or(0, |(count, _)| count);
    let conns = u64::from(settings.conns);
    Finding::judge(CONNTRACK_MAX, machine.number::<u64>(CONNTRACK_MAX), |most| {
        let expected = tracked.saturating_add(conns);
        let counts = format!("{tracked} are tracked now, {conns} connections come to them");
        if most < expected {
            Judgement::warn(format!(
                "{counts}: when the table is full the firewall drops new clients without a word"
            ))
            .set(format!("sysctl -w {CONNTRACK_MAX}={}", expected.saturating_mul(2)))
        } else {
            Judgement::ok(counts)
        }
    })
}

/// An entry lives on from packet to packet, and a healthy device's packets are its beats.
fn conntrack_established(machine: &Machine, settings: &Settings) -> Finding {
    let (beat_every, dead_within) = (settings.liveness.beat_every, settings.liveness.dead_within);
    let enough = 2 * dead_within.as_secs().max(1);
    let command = format!("sysctl -w {CONNTRACK_ESTABLISHED}={enough}");
    let beats = show(beat_every);
    Finding::judge(CONNTRACK_ESTABLISHED, machine.number::<u64>(CONNTRACK_ESTABLISHED), |seconds| {
        let forgets = Duration::from_secs(seconds);
        let after = show(forgets);
        if forgets <= beat_every {
            Judgement::warn(format!(
                "the firewall forgets a peer after {after} without a packet, and devices beat every {beats}: a rule on the state drops their next beat"
            ))
            .set(command)
        } else if forgets <= dead_within {
            Judgement::note(format!(
                "the firewall forgets a peer after {after}, and we trust it for {}: a late beat may be dropped on its way",
                show(dead_within)
            ))
            .set(command)
        } else {
            Judgement::ok(format!("the firewall remembers a peer for {after}; devices beat every {beats}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::super::machine::Unread;
    use super::*;

    fn established(seconds: &str, dead_within: Duration) -> Judgement {
        let machine = Machine::healthy().with(CONNTRACK_ESTABLISHED, seconds);
        let settings = Settings::with(&machine, |config| config.dead_within = dead_within);
        conntrack_established(&machine, &settings).judgement
    }

    #[test]
    fn a_firewall_that_forgets_between_two_beats_is_a_warning() {
        let twenty_minutes = Duration::from_mins(20);
        let forgetful = established("300", twenty_minutes);
        assert_eq!(forgetful.verdict, Verdict::Warn);
        assert!(
            forgetful.meaning.contains("5 min") && forgetful.meaning.contains("6 min 40 s"),
            "{forgetful:?}"
        );
        assert!(forgetful.set.unwrap().ends_with("established=2400"));
        assert_eq!(
            established("600", twenty_minutes).verdict,
            Verdict::Note,
            "it forgets those who are late"
        );
        assert_eq!(established("432000", twenty_minutes).verdict, Verdict::Ok);
        assert_eq!(established("300", Duration::from_secs(30)).verdict, Verdict::Ok);
        assert_eq!(
            established("soon", twenty_minutes).verdict,
            Verdict::Note,
            "garbage is no reason to warn"
        );
        assert_eq!(established("18446744073709551615", twenty_minutes).verdict, Verdict::Ok);
    }

    #[test]
    fn a_small_table_of_the_firewall_is_a_warning_and_none_is_none() {
        let machine = Machine::healthy().with(CONNTRACK_MAX, "8192");
        let settings = Settings::usual(&machine);
        let small = conntrack(&machine, &settings).remove(0).judgement;
        assert_eq!(small.verdict, Verdict::Warn);
        assert!(small.set.unwrap().contains("nf_conntrack_max=20024"));
        let none = conntrack(&machine.without(CONNTRACK_MAX, Unread::Missing), &settings);
        assert_eq!((none.len(), none[0].judgement.verdict), (1, Verdict::Ok));
    }

    #[test]
    fn bbr_is_good_for_gateways_and_bad_for_loopback() {
        let machine = Machine::healthy().with("net.ipv4.tcp_congestion_control", "bbr");
        let finding = congestion(&machine);
        assert_eq!(
            (finding.value.as_str(), finding.judgement.verdict),
            ("bbr (of reno bbr cubic)", Verdict::Note)
        );
        assert_eq!(congestion(&Machine::healthy()).judgement.verdict, Verdict::Ok);
    }

    #[test]
    fn ports_concern_those_who_connect() {
        let machine = Machine::healthy();
        let judge = |conns| {
            ports(&machine, &Settings::with(&machine, |config| config.limits.conns_max = Some(conns)))
                .judgement
        };
        assert!(judge(10_000).meaning.contains("28232 connections"));
        assert_eq!(judge(10_000).verdict, Verdict::Ok);
        assert!(judge(60_000).meaning.contains("3 source addresses"));
        let reversed = machine.clone().with("net.ipv4.ip_local_port_range", "60999 32768");
        assert_eq!(ports(&reversed, &Settings::usual(&reversed)).judgement.verdict, Verdict::Note);
    }
}
