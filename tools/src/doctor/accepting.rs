//! Whether clients get in: the listeners' queues, and what happens when one is full.

use super::finding::{Finding, Judgement, Section};
use super::machine::{Machine, Unread};
use super::settings::Settings;
use crate::duration::show;

const SOMAXCONN: &str = "net.core.somaxconn";

pub(crate) fn section(machine: &Machine, settings: &Settings) -> Section {
    let queue = queue(machine, settings);
    Section {
        subject: "letting clients in",
        findings: vec![
            backlog(queue, settings),
            somaxconn(machine, settings),
            syn_backlog(machine, queue),
            syncookies(machine, queue),
            abort_on_overflow(machine, queue, settings),
            migrate_req(machine, queue, settings),
            overflows(machine),
        ],
    }
}

/// Clients that wait in one listener: the kernel cuts the backlog silently, and admits one more.
fn queue(machine: &Machine, settings: &Settings) -> u64 {
    let backlog = u64::from(settings.config.backlog);
    machine.number(SOMAXCONN).map_or(backlog, |(most, _): (u64, _)| most.min(backlog)) + 1
}

/// `2000 reconnects/s a shard, the whole fleet within one beat, fill it in 2 s`.
fn filled(queue: u64, settings: &Settings) -> String {
    match settings.queue_lasts(queue) {
        None => "a shard's whole fleet fits".into(),
        Some(lasts) => format!(
            "the fleet reconnecting within one beat ({}), {:.0}/s a shard, fills it in {} if the shard stands still",
            show(settings.liveness.beat_every),
            settings.reconnects_per_second(),
            show(lasts)
        ),
    }
}

fn backlog(queue: u64, settings: &Settings) -> Finding {
    let backlog = settings.config.backlog;
    let stuck_after = settings.stuck_after();
    let short = settings.queue_lasts(queue).is_some_and(|lasts| lasts < stuck_after);
    let judgement = if short && queue > u64::from(backlog) {
        let wanted = (settings.reconnects_per_second() * stuck_after.as_secs_f64()).ceil() as u64;
        let wanted = wanted.min(u64::from(settings.conns_per_shard()));
        Judgement::note(format!(
            "{}, sooner than the watchdog notices ({})",
            filled(queue, settings),
            show(stuck_after)
        ))
        .set(format!("--backlog {wanted} (Config::backlog), with sysctl -w {SOMAXCONN}={wanted}"))
    } else {
        Judgement::ok(format!("{queue} clients wait in a listener's queue: {}", filled(queue, settings)))
    };
    Finding::new("backlog", backlog, judgement)
}

fn somaxconn(machine: &Machine, settings: &Settings) -> Finding {
    let backlog = u64::from(settings.config.backlog);
    Finding::judge(SOMAXCONN, machine.number::<u64>(SOMAXCONN), |most| {
        if most < backlog {
            let queue = queue(machine, settings);
            Judgement::warn(format!(
                "silently cuts the backlog of {backlog}: a queue holds {queue} clients; {}",
                filled(queue, settings)
            ))
            .set(format!("sysctl -w {SOMAXCONN}={backlog}"))
        } else {
            Judgement::ok(format!("does not cut the backlog of {backlog}"))
        }
    })
}

/// Since 4.4 half-open connections are bounded by the listener's backlog; this number remains for one case.
fn syn_backlog(machine: &Machine, queue: u64) -> Finding {
    let name = "net.ipv4.tcp_max_syn_backlog";
    let cookies = machine.number::<u64>("net.ipv4.tcp_syncookies").map_or(1, |(value, _)| value);
    Finding::judge(name, machine.number::<u64>(name), |most| {
        let admitted = most - most / 4;
        if cookies != 0 {
            Judgement::ok(format!(
                "does not matter with SYN cookies: {queue} handshakes at a time, by the backlog"
            ))
        } else if admitted < queue {
            Judgement::warn(format!(
                "without SYN cookies only {admitted} handshakes at a time (three quarters of it), and the queue would take {queue}"
            ))
            .set(format!("sysctl -w {name}={}", queue * 4 / 3 + 1))
        } else {
            Judgement::ok(format!("{admitted} handshakes at a time, and the queue takes {queue}"))
        }
    })
}

fn syncookies(machine: &Machine, queue: u64) -> Finding {
    let name = "net.ipv4.tcp_syncookies";
    Finding::judge(name, machine.number::<u64>(name), |value| match value {
        0 => Judgement::warn(format!(
            "{queue} spoofed SYNs fill a listener's half-open queue, and no client gets in while they last"
        ))
        .set("sysctl -w net.ipv4.tcp_syncookies=1"),
        1 => Judgement::ok(
            "a SYN flood does not lock clients out; one that got in by cookie while the queue was full is ESTABLISHED only for itself: devices need a login-reply timeout",
        ),
        _ => Judgement::note("every handshake goes by cookie, which loses TCP options; meant for tests")
            .set("sysctl -w net.ipv4.tcp_syncookies=1"),
    })
}

fn abort_on_overflow(machine: &Machine, queue: u64, settings: &Settings) -> Finding {
    let name = "net.ipv4.tcp_abort_on_overflow";
    let retries: u32 = machine.number("net.ipv4.tcp_synack_retries").map_or(5, |(retries, _)| retries);
    // Each wait for the third packet is twice the one before: 1 s + 2 s + … , and never beyond two minutes.
    let held: u64 = (0..=retries.min(127)).map(|n| (1 << n.min(10)).min(120)).sum();
    Finding::judge(name, machine.number::<u64>(name), |value| match value {
        0 => Judgement::note(format!(
            "when {queue} wait, the next client is ESTABLISHED for itself and not here, for some {held} s: devices need a login-reply timeout, and {} would do",
            show(settings.liveness.hello_within)
        )),
        _ => Judgement::note(format!(
            "when {queue} wait, the next client is reset: devices know at once, and must not all come back at once"
        )),
    })
}

fn migrate_req(machine: &Machine, queue: u64, settings: &Settings) -> Finding {
    let name = "net.ipv4.tcp_migrate_req";
    if settings.shards == 1 {
        let value = machine.text(name).unwrap_or_else(|unread| unread.to_string());
        let meaning = "does not matter: one shard has nobody to hand its clients to";
        return Finding::new(name, value, Judgement::ok(meaning));
    }
    let lost = format!(
        "closing a stuck shard's listener (Watchdog::close_listeners) resets the up to {queue} clients in its queue"
    );
    if machine.lacks(name) {
        let set = "Linux 5.14 or later, and sysctl -w net.ipv4.tcp_migrate_req=1";
        return Finding::new(name, Unread::Missing, Judgement::note(lost).set(set));
    }
    Finding::judge(name, machine.number::<u64>(name), |value| match value {
        0 => Judgement::note(lost).set("sysctl -w net.ipv4.tcp_migrate_req=1"),
        _ => Judgement::ok("closing a stuck shard's listener hands the clients in its queue to the others"),
    })
}

fn overflows(machine: &Machine) -> Finding {
    let name = "TcpExt ListenOverflows";
    match machine.tcp_counter("ListenOverflows") {
        Err(unread) => Finding::unread(name, &unread, "past overflows of queues are not to be seen here"),
        read => Finding::judge(name, read, |count| match count {
            0 => Judgement::ok("no listener of this network namespace has had a full queue so far"),
            n => Judgement::note(format!(
                "{n} times a client met a full queue of some listener of this network namespace; nstat -az TcpExtListenOverflows shows whether it grows"
            )),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn a_low_somaxconn_cuts_the_backlog_and_says_for_how_long_that_lasts() {
        let machine = Machine::healthy().with(SOMAXCONN, "128");
        let finding = somaxconn(&machine, &Settings::usual(&machine));
        assert_eq!(finding.judgement.verdict, Verdict::Warn);
        let meaning = &finding.judgement.meaning;
        assert!(meaning.contains("4096") && meaning.contains("129 clients"), "{meaning}");
        assert!(meaning.contains("500/s") && meaning.contains("258 ms"), "{meaning}");
        assert_eq!(finding.judgement.set.as_deref(), Some("sysctl -w net.core.somaxconn=4096"));
        let small = Settings::with(&machine, |config| config.backlog = 128);
        assert_eq!(somaxconn(&machine, &small).judgement.verdict, Verdict::Ok);
    }

    #[test]
    fn a_backlog_that_fills_before_anybody_notices_is_noted_once() {
        let machine = Machine::healthy();
        let fast = Settings::with(&machine, |config| config.backlog = 128);
        let finding = backlog(queue(&machine, &fast), &fast);
        assert_eq!(finding.judgement.verdict, Verdict::Note);
        assert!(
            finding.judgement.set.unwrap().contains("--backlog 500"),
            "500 come in the watchdog's second"
        );
        let cut = Machine::healthy().with(SOMAXCONN, "128");
        let usual = Settings::usual(&cut);
        assert_eq!(
            backlog(queue(&cut, &usual), &usual).judgement.verdict,
            Verdict::Ok,
            "somaxconn is warned of"
        );
    }

    #[test]
    fn half_open_connections_depend_on_cookies() {
        let machine = Machine::healthy().with("net.ipv4.tcp_max_syn_backlog", "128");
        assert_eq!(syn_backlog(&machine, 4097).judgement.verdict, Verdict::Ok);
        assert_eq!(syncookies(&machine, 4097).judgement.verdict, Verdict::Ok);
        let bare = machine.with("net.ipv4.tcp_syncookies", "0");
        let finding = syn_backlog(&bare, 4097).judgement;
        assert_eq!(finding.verdict, Verdict::Warn);
        assert!(finding.meaning.contains("only 96 handshakes"), "{}", finding.meaning);
        assert_eq!(syncookies(&bare, 4097).judgement.verdict, Verdict::Warn);
        let always = bare.with("net.ipv4.tcp_syncookies", "2");
        assert_eq!(syncookies(&always, 4097).judgement.verdict, Verdict::Note);
    }

    #[test]
    fn an_overflow_is_explained_to_whoever_writes_the_device() {
        let machine = Machine::healthy();
        let settings = Settings::usual(&machine);
        let silent = abort_on_overflow(&machine, 4097, &settings).judgement.meaning;
        assert!(silent.contains("63 s") && silent.contains("login-reply timeout"), "{silent}");
        let loud = machine.with("net.ipv4.tcp_abort_on_overflow", "1");
        assert!(abort_on_overflow(&loud, 4097, &settings).judgement.meaning.contains("reset"));
    }

    #[test]
    fn a_queue_is_handed_over_only_between_shards() {
        let machine = Machine::healthy().with("net.ipv4.tcp_migrate_req", "0");
        let of = |machine: &Machine, shards| {
            migrate_req(machine, 4097, &Settings::with(machine, |config| config.shards = Some(shards)))
                .judgement
        };
        assert_eq!(of(&machine, 2).set.as_deref(), Some("sysctl -w net.ipv4.tcp_migrate_req=1"));
        assert_eq!(of(&machine, 1).verdict, Verdict::Ok);
        assert_eq!(of(&Machine::healthy(), 2).verdict, Verdict::Ok);
        let old = Machine::healthy().without("net.ipv4.tcp_migrate_req", Unread::Missing);
        assert!(of(&old, 2).set.unwrap().contains("5.14"));
    }

    #[test]
    fn past_overflows_are_counted_where_they_can_be_seen() {
        use super::super::machine::NETSTAT;

        assert_eq!(overflows(&Machine::healthy()).judgement.verdict, Verdict::Ok);
        let hidden = Machine::healthy().without(NETSTAT, Unread::Missing);
        assert_eq!(overflows(&hidden).value, "not there");
        let full = Machine::healthy().with(NETSTAT, "TcpExt: ListenOverflows\nTcpExt: 7\n");
        assert!(overflows(&full).judgement.meaning.starts_with("7 times"));
    }
}
