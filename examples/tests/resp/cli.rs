//! What redis-cli shows.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::client;
use crate::common::server::{Server, backends};

/// What redis-cli prints for a command, with `input` as its last word if there is any.
fn cli(server: &Server, words: &[&str], input: Option<&[u8]>) -> Vec<u8> {
    let mut cli = Command::new("redis-cli");
    cli.args(["-p", &server.port()]);
    if input.is_some() {
        cli.arg("-x");
    }
    let mut child =
        cli.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("redis-cli starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.unwrap_or_default()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    output.stdout
}

fn text(server: &Server, words: &[&str]) -> String {
    String::from_utf8(cli(server, words, None)).expect("text").trim_end().to_owned()
}

#[test]
fn redis_cli_gets_the_answers_that_redis_gives() {
    if !client::has("redis_cli_gets_the_answers_that_redis_gives", "redis-cli") {
        return;
    }
    for backend in backends() {
        let server = Server::start("resp", backend, &[]);
        for (words, answer) in [
            (&["PING"][..], "PONG"),
            (&["ping", "hello you"], "hello you"),
            (&["ECHO", "a\r\nb"], "a\r\nb"),
            (&["GET", "k"], ""),
            (&["SET", "k", "v"], "OK"),
            (&["GET", "k"], "v"),
            (&["SET", "k", ""], "OK"),
            (&["GET", "k"], ""),
            (&["SET", "other", "w"], "OK"),
            (&["DEL", "k", "other", "nothing"], "2"),
            (&["GET", "other"], ""),
            (&["FLUSHALL"], "ERR unknown command 'FLUSHALL'"),
            (&["GET"], "ERR wrong number of arguments for 'GET' command"),
            (&["SET", "k", "v", "EX", "5"], "ERR wrong number of arguments for 'SET' command"),
        ] {
            assert_eq!(text(&server, words), answer, "{words:?} on {backend}");
        }
        server.stop();
    }
}

#[test]
fn keys_and_values_are_bytes() {
    if !client::has("keys_and_values_are_bytes", "redis-cli") {
        return;
    }
    let value: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for backend in backends() {
        let server = Server::start("resp", backend, &[]);
        assert_eq!(cli(&server, &["SET", "\u{1}\r\n\u{fe}"], Some(&value)), b"OK\n");
        // Not to a terminal, redis-cli prints the value as it is, and a newline.
        assert_eq!(cli(&server, &["GET", "\u{1}\r\n\u{fe}"], None), [&value[..], b"\n"].concat());
        server.stop();
    }
}

#[test]
fn what_does_not_fit_is_refused_and_what_was_there_stays() {
    if !client::has("what_does_not_fit_is_refused_and_what_was_there_stays", "redis-cli") {
        return;
    }
    for backend in backends() {
        let server = Server::start("resp", backend, &["--memory-max", "1"]);
        let half = vec![b'x'; 600 << 10];
        assert_eq!(cli(&server, &["SET", "one"], Some(&half)), b"OK\n");
        assert!(cli(&server, &["SET", "two"], Some(&half)).starts_with(b"OOM command not allowed"));
        assert_eq!(cli(&server, &["SET", "one"], Some(&half)), b"OK\n", "in its own place there is room");
        assert_eq!(text(&server, &["DEL", "one", "two"]), "1");
        assert_eq!(cli(&server, &["SET", "two"], Some(&half)), b"OK\n");
        server.stop();
    }
}

#[test]
fn shards_see_each_others_keys() {
    if !client::has("shards_see_each_others_keys", "redis-cli") {
        return;
    }
    for backend in backends() {
        let server = Server::start("resp", backend, &["--shards", "4"]);
        // Each redis-cli is another connection, and the kernel spreads connections over the shards.
        for nth in 0..16 {
            let key = format!("key{nth}");
            assert_eq!(text(&server, &["SET", &key, "here"]), "OK");
            assert_eq!(text(&server, &["GET", &key]), "here");
        }
        let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs").count();
        assert!(threads >= 4, "{threads} threads on {backend}");
        server.stop();
    }
}
