//! RESP2 on the wire: commands as arrays of bulk strings, or inline as words on a line.

use heartring::{Decoded, FrameKind, Protocol};

/// Words of one command. Redis takes a million; DEL is the only one here that has more than three.
const WORDS_MAX: usize = 1024;

/// Bytes of a line: an inline command, or a length.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The protocol: a frame is one command, as it was sent.
#[derive(Default)]
pub(crate) struct Resp;

/// One command.
pub(crate) enum Command<'a> {
    /// An empty line.
    Nothing,
    Ping(Option<&'a [u8]>),
    Echo(&'a [u8]),
    Set {
        key: &'a [u8],
        value: &'a [u8],
    },
    Get(&'a [u8]),
    Delete(Vec<&'a [u8]>),
    /// COMMAND or CONFIG.
    Describe,
    Quit,
    /// Not one of these, and what to say.
    Wrong(String),
}

/// What stands at the front of the input.
enum Front<'a> {
    Whole { words: Vec<&'a [u8]>, used: usize },
    Partial { needed: usize },
    Invalid(&'static str),
}

impl Protocol for Resp {
    type State = ();

    fn decode<'a>(&self, _state: &'a mut (), input: &'a [u8], _seen: usize) -> Decoded<'a> {
        match front(input) {
            Front::Whole { used, .. } => {
                Decoded::Frame { kind: FrameKind::Data, payload: &input[..used], used }
            }
            Front::Partial { needed } => Decoded::Partial { needed },
            Front::Invalid(why) => Decoded::Invalid(why),
        }
    }
}

impl<'a> Command<'a> {
    /// Reads a frame.
    pub(crate) fn parse(frame: &'a [u8]) -> Self {
        let Front::Whole { words, .. } = front(frame) else { unreachable!("a frame is whole") };
        let Some((name, arguments)) = words.split_first() else { return Self::Nothing };
        match (&*name.to_ascii_uppercase(), arguments) {
            (b"PING", []) => Self::Ping(None),
            (b"PING", &[text]) => Self::Ping(Some(text)),
            (b"ECHO", &[text]) => Self::Echo(text),
            (b"SET", &[key, value]) => Self::Set { key, value },
            (b"GET", &[key]) => Self::Get(key),
            (b"DEL", keys @ [_, ..]) => Self::Delete(keys.to_vec()),
            (b"COMMAND" | b"CONFIG", _) => Self::Describe,
            (b"QUIT", _) => Self::Quit,
            (b"PING" | b"ECHO" | b"SET" | b"GET" | b"DEL", _) => {
                Self::Wrong(format!("wrong number of arguments for '{}'", name.escape_ascii()))
            }
            _ => Self::Wrong(format!("unknown command '{}'", name.escape_ascii())),
        }
    }
}

fn front(input: &[u8]) -> Front<'_> {
    if input.first() == Some(&b'*') {
        return array(input).unwrap_or_else(|stop| stop);
    }
    match line(input) {
        Ok((line, used)) => {
            let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            Front::Whole { words: words.collect(), used }
        }
        Err(stop) => stop,
    }
}

/// `*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n`. An error is what stopped it.
fn array(input: &[u8]) -> Result<Front<'_>, Front<'_>> {
    let (count, mut used) = length(input, b'*', "a command that does not begin with its number of words")?;
    if count > WORDS_MAX {
        return Err(Front::Invalid("a command of too many words"));
    }
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let what = "a word that does not begin with its length";
        let (bytes, header) = length(&input[used..], b'$', what).map_err(|stop| stop.after(used))?;
        let (begin, end) = (used + header, used + header + bytes);
        used = end + 2;
        let Some(rest) = input.get(end..used) else { return Err(Front::Partial { needed: used }) };
        if rest != b"\r\n" {
            return Err(Front::Invalid("a word that is not as long as it says"));
        }
        words.push(&input[begin..end]);
    }
    Ok(Front::Whole { words, used })
}

/// A line such as `$3`: its number, and how many bytes it took.
fn length<'a>(input: &'a [u8], kind: u8, what: &'static str) -> Result<(usize, usize), Front<'a>> {
    let (line, used) = line(input)?;
    let number = line.strip_prefix(&[kind]).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    // Beyond this no frame is allowed anyway, and sums cannot overflow.
    number.filter(|length| *length <= 1 << 30).map(|length| (length, used)).ok_or(Front::Invalid(what))
}

/// A line without its end, and how many bytes it took with it.
fn line(input: &[u8]) -> Result<(&[u8], usize), Front<'_>> {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
        let too_long = input.len() > LINE_BYTES_MAX;
        let needed = input.len() + 1;
        return Err(if too_long {
            Front::Invalid("a line without an end")
        } else {
            Front::Partial { needed }
        });
    };
    let line = &input[..end];
    Ok((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

impl Front<'_> {
    /// The same, seen from `before` bytes earlier.
    fn after(self, before: usize) -> Self {
        match self {
            Self::Partial { needed } => Self::Partial { needed: before + needed },
            Self::Whole { .. } | Self::Invalid(_) => self,
        }
    }
}
