//! The system-wide sysctls that decide when TCP gives up on a peer, nearly all of which the gateway overrides.

use super::finding::{Finding, Judgement, Section};
use super::machine::{Machine, Unread};
use super::settings::Settings;
use crate::duration::show;

pub(crate) fn section(machine: &Machine, settings: &Settings) -> Section {
    Section {
        subject: "peers that vanish",
        findings: vec![
            keepalive(machine, settings, "net.ipv4.tcp_keepalive_time"),
            keepalive(machine, settings, "net.ipv4.tcp_keepalive_intvl"),
            keepalive(machine, settings, "net.ipv4.tcp_keepalive_probes"),
            retries2(machine, settings),
            rto_max(machine, settings),
            fin_timeout(machine, settings),
            max_orphans(machine, settings),
        ],
    }
}

fn keepalive(machine: &Machine, settings: &Settings, name: &'static str) -> Finding {
    Finding::judge(name, machine.number::<u64>(name), |_| {
        let Some(keepalive) = settings.liveness.keepalive else {
            return Judgement::ok("does not matter: the gateway has keepalive off");
        };
        let own = match name {
            "net.ipv4.tcp_keepalive_time" => format!("TCP_KEEPIDLE to {} s", keepalive.idle_s),
            "net.ipv4.tcp_keepalive_intvl" => format!("TCP_KEEPINTVL to {} s", keepalive.interval_s),
            _ => format!("TCP_KEEPCNT to {}", keepalive.probes),
        };
        Judgement::ok(format!(
            "does not matter: the gateway sets {own} on its listeners, and connections inherit it"
        ))
    })
}

fn retries2(machine: &Machine, settings: &Settings) -> Finding {
    let name = "net.ipv4.tcp_retries2";
    Finding::judge(name, machine.number::<u64>(name), |retries| match settings.liveness.user_timeout {
        Some(timeout) => Judgement::ok(format!(
            "does not matter: the gateway sets TCP_USER_TIMEOUT to {}, which replaces it",
            show(timeout)
        )),
        None => Judgement::note(format!(
            "unacknowledged data is sent again {retries} times, which takes a quarter of an hour at 15, and keepalive is off meanwhile: only the deadline of {} ends it",
            show(settings.liveness.dead_within)
        )),
    })
}

/// The sysctl came with the socket option, so that its being there says that the option is.
fn rto_max(machine: &Machine, settings: &Settings) -> Finding {
    let name = "net.ipv4.tcp_rto_max_ms";
    let Some(own) = settings.liveness.rto_max else {
        return Finding::judge(name, machine.number::<u64>(name), |millis| {
            Judgement::ok(format!("retransmission backs off to {millis} ms: the gateway leaves it alone"))
        });
    };
    if machine.lacks(name) {
        let meaning = format!(
            "this kernel has no TCP_RTO_MAX_MS, which the gateway would set to {}: retransmission backs off to 120 s, and a path that healed is noticed late",
            show(own)
        );
        return Finding::new(name, Unread::Missing, Judgement::note(meaning).set("Linux 6.15 or later"));
    }
    Finding::judge(name, machine.number::<u64>(name), |_| {
        Judgement::ok(format!("does not matter: the gateway sets TCP_RTO_MAX_MS to {}", show(own)))
    })
}

fn fin_timeout(machine: &Machine, settings: &Settings) -> Finding {
    let name = "net.ipv4.tcp_fin_timeout";
    Finding::judge(name, machine.number::<u64>(name), |_| {
        Judgement::ok(format!(
            "does not matter: the gateway keeps a closing socket until the peer's FIN, at most {}, and then aborts it",
            show(settings.liveness.drain_within)
        ))
    })
}

/// What a close leaves behind: a FIN of ours that a peer without a way back does not acknowledge.
fn max_orphans(machine: &Machine, settings: &Settings) -> Finding {
    let name = "net.ipv4.tcp_max_orphans";
    let read = machine.number::<u64>(name);
    if let Err(unread) = &read {
        let why =
            "only the machine's first network namespace shows it; the gateway leaves next to no orphans";
        return Finding::unread(name, unread, why);
    }
    let ends = settings.liveness.user_timeout.map_or("tcp_orphan_retries".into(), show);
    Finding::judge(name, read, |most| {
        let conns = u64::from(settings.conns);
        if most < conns {
            Judgement::note(format!(
                "the dead are closed abortively and leave none; peers that closed and then vanished leave one for {ends}, and beyond {most} the kernel resets them, which harms nobody"
            ))
        } else {
            Judgement::ok(format!(
                "more than the {conns} connections; the dead are closed abortively and leave none, peers that closed and then vanished leave one for {ends}"
            ))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn what_the_gateway_sets_itself_is_told_with_its_numbers() {
        let machine = Machine::healthy();
        let settings = Settings::usual(&machine);
        let own = settings.liveness.keepalive.unwrap();
        let idle = keepalive(&machine, &settings, "net.ipv4.tcp_keepalive_time");
        assert_eq!((idle.value.as_str(), idle.judgement.verdict), ("7200", Verdict::Ok));
        assert!(idle.judgement.meaning.contains(&format!("TCP_KEEPIDLE to {} s", own.idle_s)), "{idle:?}");
        let probes = keepalive(&machine, &settings, "net.ipv4.tcp_keepalive_probes").judgement.meaning;
        assert!(probes.contains(&format!("TCP_KEEPCNT to {}", own.probes)), "{probes}");
        let retries = retries2(&machine, &settings).judgement;
        assert_eq!(retries.verdict, Verdict::Ok);
        assert!(retries.meaning.contains("TCP_USER_TIMEOUT to 45 s"), "{}", retries.meaning);
    }

    #[test]
    fn without_a_user_timeout_retransmission_matters() {
        let machine = Machine::healthy();
        let settings = Settings::with(&machine, |config| config.overrides.user_timeout = Some(None));
        let finding = retries2(&machine, &settings).judgement;
        assert_eq!(finding.verdict, Verdict::Note);
        assert!(
            finding.meaning.contains("15 times") && finding.meaning.contains("30 s"),
            "{}",
            finding.meaning
        );
    }

    #[test]
    fn a_kernel_without_a_bound_of_backing_off_is_noted() {
        let machine = Machine::healthy().without("net.ipv4.tcp_rto_max_ms", Unread::Missing);
        let finding = rto_max(&machine, &Settings::usual(&machine)).judgement;
        assert_eq!((finding.verdict, finding.set.as_deref()), (Verdict::Note, Some("Linux 6.15 or later")));
    }

    #[test]
    fn orphans_are_never_a_reason_to_worry() {
        let machine = Machine::healthy().with("net.ipv4.tcp_max_orphans", "100");
        let settings = Settings::usual(&machine);
        assert_eq!(max_orphans(&machine, &settings).judgement.verdict, Verdict::Note);
        assert_eq!(max_orphans(&Machine::healthy(), &settings).judgement.verdict, Verdict::Ok);
        let hidden = machine.without("net.ipv4.tcp_max_orphans", Unread::Missing);
        assert_eq!(max_orphans(&hidden, &settings).value, "not there");
    }
}
