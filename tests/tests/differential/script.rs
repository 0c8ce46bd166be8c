//! A script: what the peers of a few connections do, one step after the other, and what each step has led to before the next
//! may begin.
//!
//! A step is over when its consequences are complete: so many calls of the handler, so many bytes received, read by the peer,
//! and how the stream looks to it. These are counts, not contents; what they consist of is what is compared. So there is no race
//! in a script: the next step finds every backend in the same state.

use std::fmt;

use heartring_tests::End;

use super::tale::shown;

/// See the module's own text.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) name: String,
    /// The seed that it was made from; by hand, if there is none.
    pub(crate) seed: Option<u64>,
    pub(crate) conns: usize,
    pub(crate) steps: Vec<Step>,
}

/// One peer does one thing.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) conn: usize,
    pub(crate) action: Action,
    /// What it leads to, for each connection that it touches.
    pub(crate) dues: Vec<(usize, Due)>,
}

/// What a peer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Connect,
    /// Writes, and then perhaps leaves in the same instant.
    Write(Vec<u8>, Option<Leave>),
    Leave(Leave),
    StopReading,
    ReadAgain,
    /// Nothing, until a deadline has passed.
    KeepSilent,
}

/// How a peer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Shuts its sending side and reads on.
    Fin,
    /// Closes.
    Close,
    /// Closes with RST.
    Reset,
}

/// What has happened to a connection by the end of a step, since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Calls of the handler.
    pub(crate) told: usize,
    /// Bytes that the backend delivered.
    pub(crate) heard: usize,
    /// Bytes that the peer has read.
    pub(crate) read: usize,
    /// How its stream looks to it.
    pub(crate) end: End,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {:>3}. {step}", at + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", letter(self.conn), self.action)?;
        for (conn, due) in &self.dues {
            write!(f, "; {}: {due}", letter(*conn))?;
        }
        Ok(())
    }
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { told, heard, read, end } = self;
        write!(f, "told {told}, heard {heard} B, read {read} B, {end:?}")
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connects"),
            Self::Write(bytes, None) => write!(f, "writes {}", shown(bytes)),
            Self::Write(bytes, Some(leave)) => write!(f, "writes {} and {leave}", shown(bytes)),
            Self::Leave(leave) => write!(f, "{leave}"),
            Self::StopReading => f.write_str("stops reading"),
            Self::ReadAgain => f.write_str("reads again"),
            Self::KeepSilent => f.write_str("keeps silent"),
        }
    }
}

impl fmt::Display for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fin => "shuts its sending side",
            Self::Close => "closes",
            Self::Reset => "resets",
        })
    }
}

/// The name of a connection within its script.
pub(crate) fn letter(conn: usize) -> char {
    char::from(b'A' + conn as u8)
}
