//! Where and how it was measured: the machine, the method, and what is known to be weak about them.

use std::fmt::Write;

use super::text::{escape, grouped, sentence};
use crate::machine::Machine;
use crate::plan::Engine;
use crate::verdict;

/// The machine, line by line.
pub(crate) fn machine(machine: &Machine) -> String {
    let mut html = String::from("<div class=\"scroll\"><table class=\"machine\"><tbody>\n");
    for (label, value) in lines(machine) {
        let _ = writeln!(html, "<tr><th>{label}</th><td>{}</td></tr>", escape(&value));
    }
    html.push_str("</tbody></table></div>\n");
    html
}

fn lines(machine: &Machine) -> Vec<(&'static str, String)> {
    // All of it, so that a field to come is not forgotten.
    let Machine {
        kernel,
        cpu,
        cores,
        server_core,
        generator_core,
        generator,
        memory_mib,
        congestion_control,
        congestion_control_default,
        descriptors_max,
        transport,
        rps: _, // the transport says it
        version,
    } = machine;
    let generator = match generator {
        Engine::IoUring => "io_uring",
        Engine::Epoll => "epoll",
    };
    vec![
        ("heartring", version.clone()),
        ("Kernel", format!("Linux {kernel}")),
        ("Processor", cpu.clone()),
        (
            "Cores",
            format!("{cores}; the server on core {server_core}, the generator on core {generator_core}"),
        ),
        ("Memory", format!("{} GiB", grouped(*memory_mib as f64 / 1024.0, 1))),
        ("Generator", format!("on {generator}, for busy devices")),
        (
            "Congestion control",
            format!(
                "{congestion_control} on both ends; the system's default is {congestion_control_default}"
            ),
        ),
        ("Descriptors per process", grouped(*descriptors_max as f64, 0)),
        ("Transport", transport.clone()),
    ]
}

/// How it was measured, for somebody who would repeat or attack it.
pub(crate) fn method(machine: &Machine) -> String {
    let place = if machine.is_shared() {
        "Server and generator had to share one core here.".to_owned()
    } else {
        format!(
            "The server stays on core {}, the load generator, another process, on core {}.",
            machine.server_core, machine.generator_core
        )
    };
    let points = [
        ("Rounds", "Each contender is measured once per round, in an order that rotates from round to round and runs backwards \
          every other cycle. A machine that is slow for a minute is slow for all."
            .to_owned()),
        ("Fresh processes", format!("Every single measurement starts a new server and a new generator. {place} Nothing is \
          measured until all connections are up and warm.")),
        ("Cost", "What a contender costs is the CPU time of its server process, all threads, user and system, between two marks, \
          divided by the units of work that the generator counted between them. It is not throughput: a server that waits \
          for its generator is not charged for that."
            .into()),
        ("Ratios", format!("Contenders are compared pair by pair within a round. The figure is the median of these ratios; its \
          95 % interval comes from order statistics and assumes nothing about their distribution. {}", verdict::RULE)),
        ("Spread", "Ranges in figures and drawings go from the least to the most of all rounds. They are not intervals.".into()),
        ("Congestion control", format!("{} on both ends of every connection: BBR, a common default, paces with timers and \
          distorts loopback.", machine.congestion_control)),
        ("Contenders", "The bare servers have no deadlines, no frames, no identities and no states: they are the limit, and what \
          heartring needs beyond them is the price of the manager. The runtimes are written as a competent user of each \
          would write them, each with the idle timeout that its users would use."
            .into()),
    ];
    let mut html = String::from("<dl class=\"points\">\n");
    for (name, text) in points {
        let _ = writeln!(html, "<dt>{name}</dt><dd>{}</dd>", escape(&text));
    }
    html.push_str("</dl>\n");
    html
}

/// What a sceptic should know before quoting anything.
pub(crate) fn weaknesses(machine: &Machine) -> String {
    let mut items: Vec<String> = machine.cautions().iter().map(|caution| sentence(caution)).collect();
    items.push(
        "Loopback has no network card, no interrupts and no losses. Most of a message on it is TCP itself, which all \
         contenders pay alike, so that ratios are nearer to 1 than they would be without it."
            .into(),
    );
    if machine.cores <= 4 {
        let cores = machine.cores;
        items.push(format!(
            "With {cores} {} there is none to spare: kernel threads and other programs use those that are measured.",
            if cores == 1 { "core" } else { "cores" }
        ));
    }
    items.push(
        "On a virtual machine, clock frequency, caches and neighbours are the host's. Absolute figures hold for this \
         machine and this hour; the ratios are what may be compared with other machines."
            .into(),
    );
    let mut html = String::from("<ul>\n");
    for item in items {
        let _ = writeln!(html, "<li>{}</li>", escape(&item));
    }
    html.push_str("</ul>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::specimen;

    #[test]
    fn the_machine_is_told_in_words() {
        let html = machine(&specimen::machine());
        assert!(html.contains("<th>Descriptors per process</th><td>20\u{202f}000</td>"));
        assert!(html.contains("the server on core 1, the generator on core 0"));
    }

    #[test]
    fn the_method_has_the_rule_of_all_verdicts() {
        assert!(method(&specimen::machine()).contains(&escape(verdict::RULE)));
    }

    #[test]
    fn known_weaknesses_depend_on_the_machine() {
        let few = specimen::machine();
        let many = Machine { cores: 64, ..few.clone() };
        assert!(weaknesses(&few).contains("none to spare") && !weaknesses(&many).contains("none to spare"));
    }
}
