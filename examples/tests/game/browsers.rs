//! Two real browsers in one room.

use std::time::Duration;

use heartring_tests::eventually;
use serde_json::Value;

use crate::common::browser::Browser;
use crate::common::client;
use crate::common::server::{Server, backends};

/// The game's promise.
const LOST_WITHIN: Duration = Duration::from_secs(3);

/// Until a verdict is in the next picture, and the picture in the page.
const SEEN_WITHIN: Duration = Duration::from_secs(1);

const ARROW_RIGHT: char = '\u{E014}';

/// What a page shows of a player.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    id: String,
    x: String,
    y: String,
    presence: String,
}

/// What `page` shows of the player whose name begins with `name`.
fn shown(page: &Browser, name: &str) -> Option<Shown> {
    let rows = page.run(
        "return [...document.querySelectorAll('#players li')].map(row => \
         [row.textContent, row.dataset.id, row.dataset.x, row.dataset.y, row.className])",
    );
    let text = |row: &Value, nth: usize| row[nth].as_str().unwrap_or_default().to_owned();
    let mut rows = rows.as_array()?.iter().filter(|row| text(row, 0).starts_with(name));
    let row = rows.next()?;
    assert!(rows.next().is_none(), "{name} is there twice");
    Some(Shown { id: text(row, 1), x: text(row, 2), y: text(row, 3), presence: text(row, 4) })
}

fn is_shown(page: &Browser, name: &str, presence: &str) -> bool {
    shown(page, name).is_some_and(|shown| shown.presence == presence)
}

#[test]
fn a_player_who_vanishes_is_shown_late_then_lost_and_resumes_where_it_was() {
    let test = "a_player_who_vanishes_is_shown_late_then_lost_and_resumes_where_it_was";
    if !client::has(test, "chromedriver") || !client::has(test, "chromium") {
        return;
    }
    let (ann, ben) = (Browser::start(), Browser::start());
    for backend in backends() {
        let server = Server::start("game", backend, &["--shards", "2"]);
        ann.open(&format!("http://{}/?name=Ann", server.addr()));
        ben.open(&format!("http://{}/?name=Ben", server.addr()));
        eventually("they see each other", || is_shown(&ann, "Ben", "here") && is_shown(&ben, "Ann", "here"));
        see_each_other_move(&ann, &ben);
        vanish_and_resume(&ann, &ben, backend);
        server.stop();
    }
}

fn see_each_other_move(ann: &Browser, ben: &Browser) {
    for (mover, name, seer) in [(ann, "Ann", ben), (ben, "Ben", ann)] {
        let before = shown(seer, name);
        mover.press(ARROW_RIGHT);
        eventually("a step is seen", || shown(seer, name) != before);
    }
}

fn vanish_and_resume(ann: &Browser, ben: &Browser, backend: &str) {
    eventually("both see the same", || shown(ann, "Ann") == shown(ben, "Ann"));
    let before = shown(ben, "Ann").expect("it was seen");
    ann.freeze();
    let late_after = eventually("it is shown as late", || is_shown(ben, "Ann", "late"));
    let lost_after = late_after + eventually("it is shown as lost", || is_shown(ben, "Ann", "lost"));
    println!("{backend}: shown as late after {late_after:.2?}, as lost after {lost_after:.2?}");
    assert!(lost_after <= LOST_WITHIN + SEEN_WITHIN, "{backend}: shown as lost only after {lost_after:?}");
    let lost = Shown { presence: "lost".into(), ..before.clone() };
    assert_eq!(shown(ben, "Ann"), Some(lost), "it stays where it was seen last");
    ann.thaw();
    eventually("it is shown as here", || is_shown(ben, "Ann", "here"));
    assert_eq!(shown(ben, "Ann"), Some(before.clone()), "the same player in the same place");
    eventually("it sees itself there", || shown(ann, "Ann") == Some(before.clone()));
}
