//! `heartring simulate`: whole gateways in virtual time, a seed at a time, on all cores, with every fault there is.

mod summary;
mod tally;

use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Args;
use heartring::Instant;
use heartring_simulator::Outcome;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Failure;
use crate::interrupt::{self, EXIT_INTERRUPTED};
use crate::output;
use crate::system::now;

use summary::Summary;
use tally::Tally;

/// A rule was broken.
const EXIT_VIOLATION: u8 = 1;

/// Seeds of a run without `--seeds`: some ten seconds.
const SEEDS_DEFAULT: &str = "0..500";

/// How often progress is shown where nobody watches.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Play gateways in virtual time from seeds, with faults, and check every rule.
#[derive(Args, Debug)]
pub(crate) struct SimulateArgs {
    /// Which seeds, from A up to but not including B [default: 0..500, or from 0 on with --minutes]
    #[arg(long, value_name = "A..B", value_parser = parse_seeds)]
    seeds: Option<Range<u64>>,
    /// Stop after so many minutes
    #[arg(long, value_name = "N", value_parser = parse_minutes)]
    minutes: Option<Duration>,
    /// Write down every step of a single seed
    #[arg(long, conflicts_with = "json")]
    replay: bool,
    /// Play all seeds, also after one has failed
    #[arg(long)]
    keep_going: bool,
    /// How many seeds are played at a time [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What the threads share.
struct Run {
    next: AtomicU64,
    seeds: Range<u64>,
    give_up_at: Option<Instant>,
    keep_going: bool,
    stopped: AtomicBool,
    interrupted: Arc<AtomicBool>,
}

pub(crate) fn run(args: &SimulateArgs) -> Result<ExitCode, Failure> {
    let seeds = args.seeds.clone().unwrap_or_else(|| match args.minutes {
        Some(_) => 0..u64::MAX,
        None => parse_seeds(SEEDS_DEFAULT).expect("the default is a range"),
    });
    if args.replay {
        return replay(&seeds);
    }
    let interrupted = interrupt::watch_signals()?;
    let begun = now();
    let run = Run {
        next: AtomicU64::new(seeds.start),
        give_up_at: args.minutes.map(|minutes| begun + minutes),
        keep_going: args.keep_going,
        stopped: AtomicBool::new(false),
        interrupted,
        seeds,
    };
    let jobs = args.jobs.map_or_else(cores, usize::from);
    let tally = play(&run, jobs);
    let summary = Summary {
        tally,
        asked: run.seeds.clone(),
        elapsed: now().saturating_since(begun),
        interrupted: run.interrupted.load(Ordering::Relaxed),
    };
    if args.json {
        output::line(format_args!("{:#}", summary.to_json()));
    } else {
        output::line(summary.to_text());
    }
    Ok(match (summary.tally.violations.is_empty(), summary.interrupted) {
        (false, _) => ExitCode::from(EXIT_VIOLATION),
        (true, true) => ExitCode::from(EXIT_INTERRUPTED),
        (true, false) => ExitCode::SUCCESS,
    })
}

/// Plays seeds on `jobs` threads and adds up what came of them.
fn play(run: &Run, jobs: usize) -> Tally {
    let progress = Progress::new(run);
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let (outcomes, inbox) = mpsc::sync_channel::<Outcome>(jobs * 4);
        for _ in 0..jobs {
            let outcomes = outcomes.clone();
            scope.spawn(move || {
                while let Some(seed) = run.next_seed() {
                    if outcomes.send(heartring_simulator::simulate(seed)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(outcomes);
        let mut line_at = now() + LINE_EVERY;
        for outcome in inbox {
            if outcome.violation.is_some() && !run.keep_going {
                run.stopped.store(true, Ordering::Relaxed);
            }
            tally.add(outcome);
            progress.show(&tally, &mut line_at);
        }
    });
    progress.bar.finish_and_clear();
    tally
}

impl Run {
    fn next_seed(&self) -> Option<u64> {
        let over = self.stopped.load(Ordering::Relaxed)
            || self.interrupted.load(Ordering::Relaxed)
            || self.give_up_at.is_some_and(|at| now() >= at);
        if over {
            return None;
        }
        let seed = self.next.fetch_add(1, Ordering::Relaxed);
        self.seeds.contains(&seed).then_some(seed)
    }
}

/// A bar where a person watches, a line now and then elsewhere, on standard error.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new(run: &Run) -> Self {
        let bar = if run.seeds.end == u64::MAX {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::new(run.seeds.end - run.seeds.start)
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} seeds  {elapsed}  {msg}");
        bar.set_style(style.expect("a valid template"));
        Self { bar }
    }

    fn show(&self, tally: &Tally, line_at: &mut Instant) {
        self.bar.set_position(tally.seeds);
        self.bar.set_message(tally.line());
        if self.bar.is_hidden() && now() >= *line_at {
            *line_at = now() + LINE_EVERY;
            eprintln!("{} seeds: {}", tally.seeds, tally.line());
        }
    }
}

/// One seed, step by step.
fn replay(seeds: &Range<u64>) -> Result<ExitCode, Failure> {
    if seeds.end - seeds.start != 1 {
        return Err(Failure::new("--replay takes a single seed", "for example --seeds 7..8 --replay"));
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    match heartring_simulator::replay(seeds.start, &mut out) {
        Ok(Outcome { violation: Some(_), .. }) => Ok(ExitCode::from(EXIT_VIOLATION)),
        // A pipe that nobody reads any more (`| head`) is no error.
        Ok(Outcome { violation: None, .. }) | Err(_) => Ok(ExitCode::SUCCESS),
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// `0..500`, or a single seed `7`.
fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = match text.split_once("..") {
        Some((from, to)) => number(from).zip(number(to)).map(|(from, to)| from..to),
        None => number(text).and_then(|seed| Some(seed..seed.checked_add(1)?)),
    };
    match range {
        Some(range) if !range.is_empty() => Ok(range),
        Some(range) => {
            Err(format!("{}..{} holds no seed: the end is not among them", range.start, range.end))
        }
        None => Err("seeds are a range of numbers such as 0..500, or one number".to_owned()),
    }
}

fn parse_minutes(text: &str) -> Result<Duration, String> {
    let minutes = text.parse::<f64>().ok().filter(|minutes| (0.001..=100_000.0).contains(minutes));
    let minutes = minutes.ok_or("minutes are a number above 0, such as 0.5 or 60")?;
    Ok(Duration::from_secs_f64(minutes * 60.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_or_a_number() {
        assert_eq!(parse_seeds("0..500"), Ok(0..500));
        assert_eq!(parse_seeds("7"), Ok(7..8));
        for nonsense in ["", "..", "5..5", "9..3", "a..b", "1..", "-1..2", "18446744073709551615"] {
            assert!(parse_seeds(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn minutes_are_above_zero() {
        assert_eq!(parse_minutes("0.5"), Ok(Duration::from_secs(30)));
        for nonsense in ["0", "-1", "NaN", "inf", "soon"] {
            assert!(parse_minutes(nonsense).is_err(), "{nonsense}");
        }
    }
}
