//! A process that plays the gateway or devices. It is told which in one JSON line on stdin, and stdin stays open as its
//! lifeline: when it ends, so does the process.

use std::io;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::words::Part;
use super::{fleet_part, gateway_part};
use crate::failure::Failure;
use crate::system;

/// Runs as `heartring torment-part`.
pub(crate) fn run() -> Result<(), Failure> {
    // The lifeline would end us too, but not while we are frozen.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    system::raise_descriptors();
    let mut line = String::new();
    // Byte by byte up to the end of the line, so that what follows is left to the part.
    let part =
        read_line_unbuffered(&mut line).and_then(|()| Ok(serde_json::from_str(&line)?)).map_err(|error| {
            Failure::new(format!("no part on stdin: {error}"), "`heartring torment` starts parts")
        })?;
    match part {
        Part::Gateway(part) => gateway_part::play(&part),
        Part::Fleet(part) => fleet_part::play(&part)
            .map_err(|error| Failure::new(format!("the fleet failed: {error}"), "lower --devices")),
    }
}

/// The fleet polls the descriptor, of which a buffer must not have taken more than this line.
fn read_line_unbuffered(line: &mut String) -> io::Result<()> {
    let mut byte = [0];
    let mut bytes = Vec::new();
    while byte != *b"\n" {
        if rustix::io::read(io::stdin(), &mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.push(byte[0]);
    }
    line.push_str(str::from_utf8(&bytes).map_err(io::Error::other)?);
    Ok(())
}
