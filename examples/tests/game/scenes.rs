//! What `players.py` plays.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::common::client;
use crate::common::server::{Server, backends};

const PLAYERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/game/players.py");

/// A scene at a time: they are about who is slow, and the machine should not be.
static STAGE: Mutex<()> = Mutex::new(());

/// Plays a scene on each backend.
fn play(test: &str, scene: &str, shards: &str) {
    let Some(python) = client::python(test, &["websockets.asyncio.client"]) else { return };
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    for backend in backends() {
        let server = Server::start("game", backend, &["--shards", shards]);
        let said = client::run(Command::new(&python).args([PLAYERS, scene, &server.addr().to_string()]));
        if !said.is_empty() {
            print!("{backend}: {said}");
        }
        server.stop();
    }
}

#[test]
fn players_see_each_other_move_and_hear_pongs() {
    play("players_see_each_other_move_and_hear_pongs", "meet", "2");
}

#[test]
fn a_player_resumes_where_it_was_on_any_shard() {
    play("a_player_resumes_where_it_was_on_any_shard", "resume", "2");
}

#[test]
fn a_second_connection_takes_the_player_over_from_a_living_one() {
    play("a_second_connection_takes_the_player_over_from_a_living_one", "takeover", "2");
}

#[test]
fn a_slow_reader_gets_what_is_new_and_holds_up_nobody() {
    play("a_slow_reader_gets_what_is_new_and_holds_up_nobody", "slow", "2");
}

#[test]
fn whoever_breaks_the_protocol_is_told_so_and_closed() {
    play("whoever_breaks_the_protocol_is_told_so_and_closed", "broken", "2");
}

#[test]
fn the_page_is_served_and_other_requests_are_refused() {
    play("the_page_is_served_and_other_requests_are_refused", "pages", "2");
}

#[test]
fn a_full_shard_turns_players_away_until_one_is_lost() {
    play("a_full_shard_turns_players_away_until_one_is_lost", "full", "1");
}

#[test]
fn ctrl_c_closes_every_player_as_going_away() {
    let test = "ctrl_c_closes_every_player_as_going_away";
    let Some(python) = client::python(test, &["websockets.asyncio.client"]) else { return };
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    for backend in backends() {
        let server = Server::start("game", backend, &["--shards", "2"]);
        let mut players = Command::new(&python)
            .args([PLAYERS, "farewell", &server.addr().to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut said = String::new();
        let mut words = BufReader::new(players.stdout.take().expect("it is piped"));
        words.read_line(&mut said).expect("its words are text");
        assert_eq!(said, "they play\n");
        server.stop();
        let status = players.wait().expect("it is our child");
        assert!(status.success(), "{backend}: {status}");
    }
}
