//! Who looks how: one colour family per group, one shade, dash and mark per contender, the same on the whole page.
//!
//! Colour alone says nothing that a dash, a mark or a name does not say too.

use std::fmt::Write;

use super::text::escape;
use crate::contender::{Contender, Mode, Server};

/// The group, as a class of the style sheet.
pub(crate) fn family(contender: Contender) -> &'static str {
    match contender.server {
        Server::BareSockets
        | Server::AcceptUring
        | Server::AcceptEpoll
        | Server::BareUring
        | Server::BareEpoll => "bare",
        Server::HeartringUring | Server::HeartringEpoll => "heart",
        Server::Mio
        | Server::Tokio
        | Server::TokioUring
        | Server::Monoio
        | Server::Compio
        | Server::Glommio => "runtime",
    }
}

/// The groups, with what they are called in a legend.
pub(crate) const FAMILIES: [(&str, &str); 3] = [
    ("heart", "heartring"),
    ("bare", "bare: no deadlines, frames or states"),
    ("runtime", "runtimes, with their idle timeouts"),
];

/// Which of its family, from 0.
fn variant(contender: Contender) -> usize {
    match contender.mode {
        Mode::NoDeadlines => 2,
        Mode::Sweep => 3,
        Mode::Lease => 4,
        Mode::Rearmed => 2,
        Mode::Wheel => 3,
        Mode::Usual => of_server(contender.server),
        Mode::Batched => of_server(contender.server) + 4,
    }
}

fn of_server(server: Server) -> usize {
    match server {
        Server::HeartringUring | Server::BareUring | Server::Tokio => 0,
        Server::HeartringEpoll | Server::BareEpoll | Server::Mio => 1,
        Server::TokioUring | Server::AcceptUring => 2,
        Server::Monoio | Server::AcceptEpoll => 3,
        Server::Compio | Server::BareSockets => 4,
        Server::Glommio => 5,
    }
}

const DASHES: [&str; 6] = ["none", "8 3", "2 3", "10 3 2 3", "5 2", "10 3 2 3 2 3"];

/// The classes of the style sheet that colour a contender.
pub(crate) fn class(contender: Contender) -> String {
    format!("{} v{}", family(contender), variant(contender) % DASHES.len())
}

/// The `stroke-dasharray` of its line.
pub(crate) fn dash(contender: Contender) -> &'static str {
    DASHES[variant(contender) % DASHES.len()]
}

/// Whether it does only a part of the work, and is measured as a reference.
pub(crate) fn is_reference(contender: Contender) -> bool {
    matches!(contender.server, Server::BareSockets | Server::AcceptUring | Server::AcceptEpoll)
}

/// A point on paper, by its group: a disc, a square or a triangle.
pub(crate) fn mark(contender: Contender, x: f64, y: f64) -> String {
    match family(contender) {
        "heart" => format!("<circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.6\"/>"),
        "bare" => {
            let (left, top) = (x - 3.2, y - 3.2);
            format!("<rect class=\"mark\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"6.4\" height=\"6.4\"/>")
        }
        _ => {
            let (left, right, top, foot) = (x - 4.0, x + 4.0, y - 4.2, y + 3.0);
            format!("<path class=\"mark\" d=\"M{x:.1} {top:.1}L{right:.1} {foot:.1}L{left:.1} {foot:.1}Z\"/>")
        }
    }
}

/// Escaped, with contenders' names set apart.
pub(crate) fn marked(text: &str) -> String {
    let mut marked = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        let word = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(word);
        match Contender::from_name(name) {
            Some(contender) => {
                let family = family(contender);
                let _ = write!(marked, "<code class=\"{family}\">{name}</code>");
            }
            None => marked.push_str(name),
        }
        let gap = after.find(is_part).unwrap_or(after.len());
        // A range is not to be torn at the end of a line.
        marked.push_str(&escape(&after[..gap]).replace('–', "\u{2060}–\u{2060}"));
        rest = &after[gap..];
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster;

    #[test]
    fn whoever_is_drawn_together_can_be_told_apart_without_colour() {
        let beats = crate::workload::Workload::Beats { connections: 1, rate: 1, answered: false };
        for together in [roster::ablation().to_vec(), roster::usual(beats)] {
            for (place, one) in together.iter().enumerate() {
                for other in &together[..place] {
                    let same = family(*one) == family(*other) && dash(*one) == dash(*other);
                    assert!(!same, "{} looks like {}", one.name(), other.name());
                }
            }
        }
    }

    #[test]
    fn names_are_set_apart_and_everything_else_escaped() {
        assert_eq!(marked("<mio> & amio"), "&lt;<code class=\"runtime\">mio</code>&gt; &amp; amio");
    }
}
