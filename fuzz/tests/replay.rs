//! Replays what the fuzzer found worth keeping, and what once failed; then tries changes of it, always the same ones.
//!
//! An input that fails is printed. To keep it: `printf <what is printed> > fuzz/regressions/<target>/<what it shows>`.

use std::fs;
use std::path::Path;

/// Changed inputs per target: some seconds in a debug build.
const CHANGED: usize = 10_000;

#[test]
fn decoders_hold_for_every_kept_input_and_changes_of_it() {
    replay("decoders", heartring_fuzz::decoders);
}

#[test]
fn the_shard_holds_for_every_kept_input_and_changes_of_it() {
    replay("shard", heartring_fuzz::shard);
}

#[test]
fn the_directory_holds_for_every_kept_input_and_changes_of_it() {
    replay("directory", heartring_fuzz::directory);
}

fn replay(target: &str, run: fn(&[u8])) {
    let mut kept = files(&format!("corpus/{target}"));
    assert!(!kept.is_empty(), "{target} has no corpus");
    kept.extend(files(&format!("regressions/{target}")));
    for (name, input) in &kept {
        run_announced(name, input, run);
    }
    let mut dice = Dice(1);
    for nth in 0..CHANGED {
        let input = changed(&kept, &mut dice);
        run_announced(&format!("changed input {nth}"), &input, run);
    }
}

/// The files of a folder, by name; none if there is no such folder.
fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let mut files: Vec<_> = paths
        .map(|path| (path.display().to_string(), fs::read(&path).expect("the input can be read")))
        .collect();
    files.sort();
    files
}

/// The front of one input and the back of another, with some bytes changed.
fn changed(kept: &[(String, Vec<u8>)], dice: &mut Dice) -> Vec<u8> {
    let (front, back) = (&kept[dice.below(kept.len())].1, &kept[dice.below(kept.len())].1);
    let mut input = front[..dice.below(front.len() + 1)].to_vec();
    input.extend_from_slice(&back[dice.below(back.len() + 1)..]);
    for _ in 0..dice.below(8).min(input.len()) {
        let at = dice.below(input.len());
        input[at] = dice.below(256) as u8;
    }
    input
}

fn run_announced(name: &str, input: &[u8], run: fn(&[u8])) {
    let announce = Announce { name, input };
    run(input);
    drop(announce);
}

struct Announce<'a> {
    name: &'a str,
    input: &'a [u8],
}

impl Drop for Announce<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprint!("failed on {}: '", self.name);
            self.input.iter().for_each(|byte| eprint!("\\x{byte:02x}"));
            eprintln!("'");
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
