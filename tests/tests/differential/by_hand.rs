//! A script for each way in which a connection can end, and for what is delicate before it: so coverage does not depend on the
//! dice. A name that begins with a cause says how the first connection ends.

use super::author::Author;
use super::script::{Leave, Script};
use super::setting::{FATAL, WATCHFUL};

/// All of them.
pub(crate) fn all() -> Vec<Script> {
    ALL.iter()
        .map(|(name, write)| {
            let mut author = Author::new(name, None);
            write(&mut author);
            author.finish()
        })
        .collect()
}

type Write = fn(&mut Author);

const ALL: [(&str, Write); 33] = [
    ("frames_however_they_are_cut", frames_however_they_are_cut),
    ("peer_closed_by_fin", |a| leaves(a, Leave::Fin)),
    ("peer_closed", |a| leaves(a, Leave::Close)),
    ("peer_closed_with_a_last_word", peer_closed_with_a_last_word),
    ("peer_closed_while_it_is_owed", peer_closed_while_it_is_owed),
    ("peer_closed_in_the_protocols_words", peer_closed_in_the_protocols_words),
    ("peer_reset", |a| leaves(a, Leave::Reset)),
    ("peer_reset_with_bytes_before_it", peer_reset_with_bytes_before_it),
    ("peer_reset_while_a_send_is_parked", peer_reset_while_a_send_is_parked),
    ("overdue_and_back", overdue_and_back),
    ("overdue_and_back_by_a_pong", overdue_and_back_by_a_pong),
    ("half_a_frame_is_no_beat", half_a_frame_is_no_beat),
    ("heartbeat_missed_by_silence", |a| dies(a, |a, conn| a.silent_until_over(conn, "heartbeat_missed"))),
    ("heartbeat_missed_then_fin", |a| dies(a, |a, conn| a.leave(conn, &["late"], Leave::Fin))),
    ("heartbeat_missed_then_close", |a| dies(a, |a, conn| a.leave(conn, &["late"], Leave::Close))),
    ("heartbeat_missed_then_reset", |a| dies(a, |a, conn| a.leave(conn, &["late"], Leave::Reset))),
    ("heartbeat_missed_then_garbage", heartbeat_missed_then_garbage),
    ("heartbeat_missed_within_a_frame", heartbeat_missed_within_a_frame),
    ("peer_stuck", peer_stuck),
    ("hello_missed", hello_missed),
    ("frame_stalled", frame_stalled),
    ("slow_consumer", slow_consumer),
    ("slow_and_back", slow_and_back),
    ("superseded", superseded),
    ("heartbeat_missed_and_superseded", heartbeat_missed_and_superseded),
    ("superseded_with_a_last_word", superseded_with_a_last_word),
    ("a_claim_holds_back_what_follows", a_claim_holds_back_what_follows),
    ("protocol", protocol),
    ("too_large", too_large),
    ("local", local),
    ("local_while_the_peer_does_not_read", local_while_the_peer_does_not_read),
    ("local_until_the_peer_reads_again", local_until_the_peer_reads_again),
    ("draining", draining),
];

/// A peer that has said hello.
fn greeted(a: &mut Author) -> usize {
    let conn = a.connect();
    a.lines(conn, &["hello"]);
    conn
}

/// A peer that has said hello and wants to hear why it ends.
fn attentive(a: &mut Author) -> usize {
    let conn = greeted(a);
    a.want_last_word(conn);
    conn
}

fn frames_however_they_are_cut(a: &mut Author) {
    let conn = a.connect();
    a.lines(conn, &["one"]);
    a.lines(conn, &["two", "three", "four", "two"]);
    a.pieces(conn, &["five"], &[1, 3]);
    a.pieces(conn, &["six", "seven", "eight"], &[2, 9]);
    let (long, longer) = ("x".repeat(3000), "y".repeat(4000));
    a.lines(conn, &[&long, &longer, "nine"]);
    a.echo(conn, &longer);
    a.beat(conn);
    a.ping(conn);
    a.echo(conn, "ten");
    a.leave(conn, &["eleven", "twelve"], Leave::Fin);
}

fn leaves(a: &mut Author, leave: Leave) {
    let conn = greeted(a);
    a.leave(conn, &[], leave);
    let conn = greeted(a);
    a.leave(conn, &["goodbye", "and thanks"], leave);
    let conn = greeted(a);
    a.half(conn, "half a fr");
    a.leave(conn, &[], leave);
    let conn = a.connect();
    a.leave(conn, &[], leave);
}

fn peer_closed_with_a_last_word(a: &mut Author) {
    let conn = attentive(a);
    a.echo_and_fin(conn, "the last echo");
    let conn = attentive(a);
    a.leave(conn, &[], Leave::Fin);
}

fn peer_closed_while_it_is_owed(a: &mut Author) {
    let conn = attentive(a);
    a.stop_reading(conn);
    a.flood(conn);
    a.leave(conn, &["more"], Leave::Fin);
    a.read_again(conn);
}

fn peer_closed_in_the_protocols_words(a: &mut Author) {
    let conn = attentive(a);
    a.bye(conn);
    a.talk_on(conn);
    a.leave(conn, &[], Leave::Fin);
    let conn = greeted(a);
    a.bye(conn);
}

fn peer_reset_with_bytes_before_it(a: &mut Author) {
    let conn = attentive(a);
    a.leave(conn, &["one", "two", "echo three"], Leave::Reset);
}

fn peer_reset_while_a_send_is_parked(a: &mut Author) {
    let conn = attentive(a);
    a.stop_reading(conn);
    a.flood(conn);
    a.leave(conn, &[], Leave::Reset);
}

fn overdue_and_back(a: &mut Author) {
    let conn = greeted(a);
    a.negotiate_in_vain(conn);
    a.negotiate(conn, WATCHFUL);
    a.silent_until_overdue(conn);
    a.beat(conn);
    a.silent_until_overdue(conn);
    a.speak_up(conn, "");
    a.lines(conn, &["still here"]);
    a.leave(conn, &[], Leave::Fin);
}

fn overdue_and_back_by_a_pong(a: &mut Author) {
    let conn = greeted(a);
    a.want_pings(conn);
    a.negotiate(conn, WATCHFUL);
    a.silent_until_overdue(conn);
    a.speak_up(conn, "pong\n");
    a.lines(conn, &["still here"]);
}

fn half_a_frame_is_no_beat(a: &mut Author) {
    let conn = greeted(a);
    a.negotiate(conn, WATCHFUL);
    a.half(conn, "half a f");
    a.silent_until_overdue(conn);
    a.half(conn, "ra");
    a.lines(conn, &["me"]);
    a.silent_until_overdue(conn);
    a.leave(conn, &[], Leave::Fin);
}

/// Falls silent for good, and then speaks after all.
fn dies(a: &mut Author, end: impl Fn(&mut Author, usize)) {
    for attends in [false, true] {
        let conn = if attends { attentive(a) } else { greeted(a) };
        a.negotiate(conn, FATAL);
        a.silent_until_dead(conn);
        a.lines(conn, &["late one", "late two"]);
        a.pieces(conn, &["late three", "late four"], &[4]);
        end(a, conn);
    }
}

fn heartbeat_missed_then_garbage(a: &mut Author) {
    let conn = greeted(a);
    a.negotiate(conn, FATAL);
    a.silent_until_dead(conn);
    a.garbage(conn, &["late"]);
}

/// The rest of the frame is late, and so is the frame.
fn heartbeat_missed_within_a_frame(a: &mut Author) {
    let conn = greeted(a);
    a.negotiate(conn, FATAL);
    a.half(conn, "half a f");
    a.silent_until_dead(conn);
    a.lines(conn, &["rame", "and one more"]);
    a.half(conn, "and half a o");
    a.silent_until_over(conn, "heartbeat_missed");
}

fn peer_stuck(a: &mut Author) {
    let conn = attentive(a);
    a.want_pings(conn);
    a.negotiate(conn, FATAL);
    a.silent_until_dead(conn);
    a.lines(conn, &["late"]);
    a.leave(conn, &[], Leave::Fin);
}

fn hello_missed(a: &mut Author) {
    let conn = a.connect();
    a.silent_until_over(conn, "hello_missed");
}

fn frame_stalled(a: &mut Author) {
    let conn = attentive(a);
    a.half(conn, "half a f");
    a.half(conn, "ra");
    a.silent_until_over(conn, "frame_stalled");
}

fn slow_consumer(a: &mut Author) {
    let conn = attentive(a);
    a.stop_reading(conn);
    a.flood(conn);
    a.lines(conn, &["it still speaks"]);
    a.silent_until_over(conn, "slow_consumer");
}

fn slow_and_back(a: &mut Author) {
    let conn = greeted(a);
    a.stop_reading(conn);
    a.flood(conn);
    a.echo(conn, "behind the flood");
    a.read_again(conn);
    a.echo(conn, "as before");
    a.leave(conn, &[], Leave::Close);
}

fn superseded(a: &mut Author) {
    let first = greeted(a);
    a.claim(first, "device", &[]);
    a.claim(first, "another", &[]);
    for _ in 0..3 {
        let next = a.connect();
        a.claim(next, "device", &["hello again"]);
        a.echo(next, "served");
    }
    let other = greeted(a);
    a.claim(other, "another", &[]);
}

fn heartbeat_missed_and_superseded(a: &mut Author) {
    let old = greeted(a);
    a.claim(old, "device", &[]);
    a.negotiate(old, FATAL);
    a.silent_until_dead(old);
    a.lines(old, &["late"]);
    let new = a.connect();
    a.claim(new, "device", &["hello again"]);
}

fn superseded_with_a_last_word(a: &mut Author) {
    let old = attentive(a);
    a.claim(old, "device", &[]);
    let new = a.connect();
    a.claim(new, "device", &[]);
    a.leave(new, &[], Leave::Reset);
    // Nobody holds it any more.
    let newest = a.connect();
    a.claim(newest, "device", &[]);
}

fn a_claim_holds_back_what_follows(a: &mut Author) {
    let conn = a.connect();
    a.claim(conn, "device", &["one", "two"]);
    a.pieces(conn, &["three", "four"], &[3]);
    a.leave(conn, &["five"], Leave::Fin);
}

fn protocol(a: &mut Author) {
    let conn = greeted(a);
    a.garbage(conn, &["one", "two"]);
    let conn = attentive(a);
    a.garbage(conn, &[]);
    let conn = a.connect();
    a.garbage(conn, &[]);
}

fn too_large(a: &mut Author) {
    let conn = greeted(a);
    a.oversized(conn);
    let conn = attentive(a);
    a.oversized(conn);
}

fn local(a: &mut Author) {
    let conn = greeted(a);
    a.ask_to_close(conn);
    a.talk_on(conn);
    a.leave(conn, &[], Leave::Fin);
    let conn = attentive(a);
    a.ask_to_close(conn);
    a.leave(conn, &[], Leave::Reset);
    let conn = a.connect();
    a.ask_to_close(conn);
}

fn local_while_the_peer_does_not_read(a: &mut Author) {
    let conn = attentive(a);
    a.stop_reading(conn);
    a.flood(conn);
    a.ask_to_close(conn);
    a.silent_until_drained(conn);
}

fn local_until_the_peer_reads_again(a: &mut Author) {
    let conn = attentive(a);
    a.stop_reading(conn);
    a.flood(conn);
    a.ask_to_close(conn);
    a.read_again(conn);
}

/// What is still there at the end of a run.
fn draining(a: &mut Author) {
    greeted(a);
    attentive(a);
    let conn = attentive(a);
    a.claim(conn, "device", &[]);
}
