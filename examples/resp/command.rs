//! RESP2 on the wire: commands as arrays of bulk strings, or inline as words on a line.
//!
//! A command is walked twice, which costs no more than reading the lengths in it: once to find where it ends, and once, when it
//! is whole, to take its words.

use heartring::{Bytes, Decoded, FrameKind, Protocol};

/// Words of one command. Redis takes a million; DEL is the only one here that has more than three. A command that comes in pieces
/// is walked again with each, so this also bounds what a piece may cost.
const WORDS_MAX: i64 = 1024;

/// Bytes of an inline command, as in Redis.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Bytes of a line such as `$3`, which is never longer than `$-2147483648`.
const HEADER_BYTES_MAX: usize = 16;

/// Longer than any frame may be, and short enough that no sum overflows.
const WORD_BYTES_MAX: i64 = 1 << 30;

/// How much of an unknown name is repeated to whoever sent it.
const NAME_SHOWN_MAX: usize = 64;

/// The protocol: a frame is one command, as it was sent.
#[derive(Default)]
pub(crate) struct Resp;

/// One command.
#[derive(Debug, PartialEq)]
pub(crate) enum Command<'a> {
    /// An empty line or an empty array, which is not answered.
    Nothing,
    Ping(Option<&'a [u8]>),
    Echo(&'a [u8]),
    Set {
        key: &'a [u8],
        value: &'a [u8],
    },
    Get(&'a [u8]),
    Delete(Words<'a>),
    /// COMMAND or CONFIG.
    Describe,
    Quit,
    /// Not one of these, and what to say.
    Wrong(String),
}

/// The words of a whole command that are still to be taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Words<'a> {
    rest: &'a [u8],
    inline: bool,
}

/// Why no command ends here.
#[derive(Clone, Copy)]
enum Stop {
    /// It needs so many bytes at least.
    Partial(usize),
    Invalid(&'static str),
}

/// A value or an answer as a bulk string.
pub(crate) fn bulk(text: &[u8]) -> Bytes {
    [b"$", text.len().to_string().as_bytes(), b"\r\n", text, b"\r\n"].concat().into()
}

impl Protocol for Resp {
    type State = ();

    fn decode<'a>(&self, _state: &'a mut (), input: &'a [u8], seen: usize) -> Decoded<'a> {
        let end = if input.starts_with(b"*") { array_end(input) } else { line_end(input, seen) };
        match end {
            Ok(used) => Decoded::Frame { kind: FrameKind::Data, payload: &input[..used], used },
            Err(Stop::Partial(needed)) => Decoded::Partial { needed },
            Err(Stop::Invalid(why)) => Decoded::Invalid(why),
        }
    }
}

/// Where `*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n` ends.
fn array_end(input: &[u8]) -> Result<usize, Stop> {
    let (count, mut end) = header(input, b'*', "invalid multibulk length")?;
    if count > WORDS_MAX {
        return Err(Stop::Invalid("invalid multibulk length"));
    }
    for _ in 0..count {
        let (_, used) = word(&input[end..]).map_err(|stop| stop.after(end))?;
        end += used;
    }
    Ok(end)
}

fn line_end(input: &[u8], seen: usize) -> Result<usize, Stop> {
    match input[seen..].iter().position(|&byte| byte == b'\n') {
        Some(newline) => Ok(seen + newline + 1),
        None if input.len() > LINE_BYTES_MAX => Err(Stop::Invalid("too big inline request")),
        None => Err(Stop::Partial(input.len() + 1)),
    }
}

/// The word at the front, and how many bytes it takes with its length and its end.
fn word(input: &[u8]) -> Result<(&[u8], usize), Stop> {
    let (length, begin) = header(input, b'$', "invalid bulk length")?;
    if !(0..=WORD_BYTES_MAX).contains(&length) {
        return Err(Stop::Invalid("invalid bulk length"));
    }
    let end = begin + length as usize;
    match input.get(end..end + 2) {
        Some(b"\r\n") => Ok((&input[begin..end], end + 2)),
        Some(_) => Err(Stop::Invalid("a word that is not as long as it says")),
        None => Err(Stop::Partial(end + 2)),
    }
}

/// A line such as `$3`: its number, and how many bytes it takes with its end.
fn header(input: &[u8], kind: u8, what: &'static str) -> Result<(i64, usize), Stop> {
    if input.first().is_some_and(|&first| first != kind) {
        return Err(Stop::Invalid(what));
    }
    let Some(newline) = input.iter().take(HEADER_BYTES_MAX).position(|&byte| byte == b'\n') else {
        let too_long = input.len() >= HEADER_BYTES_MAX;
        return Err(if too_long { Stop::Invalid(what) } else { Stop::Partial(input.len() + 1) });
    };
    let digits = input[1..newline].strip_suffix(b"\r");
    digits.and_then(number).map(|number| (number, newline + 1)).ok_or(Stop::Invalid(what))
}

/// At most so many digits that it cannot overflow. Every command has several numbers: to look for UTF-8 first would cost more.
fn number(digits: &[u8]) -> Option<i64> {
    let (sign, digits) = digits.strip_prefix(b"-").map_or((1, digits), |digits| (-1, digits));
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    let sum = digits.iter().try_fold(0, |sum, byte| Some(10 * sum + digit(byte)?))?;
    (!digits.is_empty()).then_some(sign * sum)
}

impl Stop {
    /// The same, seen from `before` bytes earlier.
    const fn after(self, before: usize) -> Self {
        match self {
            Self::Partial(needed) => Self::Partial(before + needed),
            Self::Invalid(why) => Self::Invalid(why),
        }
    }
}

impl<'a> Words<'a> {
    /// The words of a frame.
    fn of(frame: &'a [u8]) -> Self {
        match header(frame, b'*', "") {
            Ok((_, used)) => Self { rest: &frame[used..], inline: false },
            Err(_) => Self { rest: frame.trim_ascii(), inline: true },
        }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (next, rest) = if self.inline {
            let end = self.rest.iter().position(u8::is_ascii_whitespace).unwrap_or(self.rest.len());
            (&self.rest[..end], self.rest[end..].trim_ascii_start())
        } else {
            let (next, used) = word(self.rest).ok()?;
            (next, &self.rest[used..])
        };
        self.rest = rest;
        Some(next)
    }
}

impl<'a> Command<'a> {
    /// Reads a frame.
    pub(crate) fn parse(frame: &'a [u8]) -> Self {
        let mut words = Words::of(frame);
        let Some(name) = words.next() else { return Self::Nothing };
        let arguments = words.clone();
        match (known(name), words.next(), words.next(), words.next()) {
            ("PING", text, None, _) => Self::Ping(text),
            ("ECHO", Some(text), None, _) => Self::Echo(text),
            ("SET", Some(key), Some(value), None) => Self::Set { key, value },
            ("GET", Some(key), None, _) => Self::Get(key),
            ("DEL", Some(_), ..) => Self::Delete(arguments),
            ("COMMAND" | "CONFIG", ..) => Self::Describe,
            ("QUIT", ..) => Self::Quit,
            ("", ..) => {
                let shown = &name[..name.len().min(NAME_SHOWN_MAX)];
                Self::Wrong(format!("unknown command '{}'", shown.escape_ascii()))
            }
            (name, ..) => Self::Wrong(format!("wrong number of arguments for '{name}' command")),
        }
    }
}

/// The name of a command in capitals, or nothing.
fn known(name: &[u8]) -> &'static str {
    let names = ["GET", "SET", "PING", "ECHO", "DEL", "COMMAND", "CONFIG", "QUIT"];
    names.into_iter().find(|known| known.as_bytes().eq_ignore_ascii_case(name)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes the first command takes, or how many it needs, or why it is none.
    fn decode(input: &[u8]) -> Result<usize, Result<usize, &'static str>> {
        match Resp.decode(&mut (), input, 0) {
            Decoded::Frame { payload, used, .. } => {
                assert_eq!(payload.len(), used);
                Ok(used)
            }
            Decoded::Partial { needed } => Err(Ok(needed)),
            Decoded::Invalid(why) => Err(Err(why)),
        }
    }

    #[test]
    fn a_command_that_is_cut_anywhere_is_partial_and_asks_for_no_more_than_it_has() {
        for command in [
            &b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\n\r\n$\n*\r\n"[..],
            b"GET key\r\n",
            b"*0\r\n",
            b"*1\r\n$0\r\n\r\n",
        ] {
            for cut in 1..command.len() {
                let Err(Ok(needed)) = decode(&command[..cut]) else { panic!("{cut} of {command:?}") };
                assert!((cut + 1..=command.len()).contains(&needed), "{needed} after {cut} of {command:?}");
            }
            assert_eq!(decode(command), Ok(command.len()));
            assert_eq!(
                decode(&[command, b"*1\r"].concat()),
                Ok(command.len()),
                "what follows is not looked at"
            );
        }
    }

    #[test]
    fn words_are_what_they_were() {
        let words = |frame| Words::of(frame).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(words(b"*3\r\n$1\r\n \r\n$0\r\n\r\n$2\r\n\r\n\r\n"), [&b" "[..], b"", b"\r\n"]);
        assert_eq!(words(b"  get\t a \r\n"), [b"get".to_vec(), b"a".to_vec()]);
        assert!(words(b"*0\r\n").is_empty() && words(b"*-1\r\n").is_empty() && words(b" \r\n").is_empty());
    }

    #[test]
    fn what_cannot_become_a_command_is_refused_as_early_as_possible() {
        for (input, why) in [
            (&b"*x"[..], Ok(3)),
            (b"*x\r\n", Err("invalid multibulk length")),
            (b"*1025\r\n", Err("invalid multibulk length")),
            (b"*99999999999999999999\r\n", Err("invalid multibulk length")),
            (b"*11111111111111111111", Err("invalid multibulk length")),
            (b"*1\n", Err("invalid multibulk length")),
            (b"*\r\n", Err("invalid multibulk length")),
            (b"*+1\r\n", Err("invalid multibulk length")),
            (b"*--1\r\n", Err("invalid multibulk length")),
            (b"*1\r\n+", Err("invalid bulk length")),
            (b"*1\r\n$-1\r\n", Err("invalid bulk length")),
            (b"*1\r\n$1073741825\r\n", Err("invalid bulk length")),
            (b"*1\r\n$1\r\nab\r\n", Err("a word that is not as long as it says")),
        ] {
            assert_eq!(decode(input), Err(why), "{:?}", input.escape_ascii().to_string());
        }
        assert_eq!(decode(&vec![b'x'; LINE_BYTES_MAX]), Err(Ok(LINE_BYTES_MAX + 1)));
        assert_eq!(decode(&vec![b'x'; LINE_BYTES_MAX + 1]), Err(Err("too big inline request")));
        assert_eq!(decode(b"*2\r\n$1\r\na\r\n$1000000\r\nx"), Err(Ok(11 + 10 + 1_000_000 + 2)));
    }

    #[test]
    fn a_command_is_known_in_any_case_and_by_its_number_of_words() {
        assert_eq!(Command::parse(b"PiNG\r\n"), Command::Ping(None));
        assert_eq!(Command::parse(b"ping you\r\n"), Command::Ping(Some(b"you")));
        assert_eq!(Command::parse(b"set k v\r\n"), Command::Set { key: b"k", value: b"v" });
        assert_eq!(Command::parse(b"\r\n"), Command::Nothing);
        let wrong = |frame| {
            let Command::Wrong(why) = Command::parse(frame) else { panic!("{frame:?}") };
            why
        };
        for frame in
            [&b"get\r\n"[..], b"get a b\r\n", b"set a\r\n", b"set a b c\r\n", b"del\r\n", b"ping a b\r\n"]
        {
            assert!(wrong(frame).starts_with("wrong number of arguments for '"), "{frame:?}");
        }
        assert_eq!(wrong(b"fl\x00sh\r\n"), "unknown command 'fl\\x00sh'");
        assert!(wrong(&vec![b'\xff'; 1 << 20]).len() < 512, "what is repeated is bounded");
    }
}
