//! What raw sockets see: pipelines cut at odd places, garbage, and clients that do not read.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::common::server::{Server, backends};

/// Longer than any answer takes; an answer that does not come fails its test.
const PATIENCE: Duration = Duration::from_secs(20);

const PIPELINE: &[u8] =
    b"PING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$6\r\n\r\n$1\r\n\r\n\r\n\n*0\r\n*-1\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$4\r\nEcho\r\n$0\r\n\r\nGET nothing\nDEL k k\r\n*1\r\n$4\r\nPING\r\n";

const ANSWERS: &[u8] = b"+PONG\r\n+OK\r\n$6\r\n\r\n$1\r\n\r\n$0\r\n\r\n$-1\r\n:1\r\n+PONG\r\n";

fn connect(server: &Server) -> TcpStream {
    let stream = server.connect();
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
    stream
}

/// Reads as many bytes as are expected and compares them.
fn expect(stream: &mut TcpStream, answers: &[u8], what: &str) {
    let mut read = vec![0; answers.len()];
    stream.read_exact(&mut read).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(read.escape_ascii().to_string(), answers.escape_ascii().to_string(), "{what}");
}

/// Everything that comes until the server closes.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    match stream.read_to_end(&mut read) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("it did not close: {error}"),
        Ok(_) | Err(_) => read,
    }
}

#[test]
fn a_pipeline_is_answered_in_order_wherever_it_is_cut() {
    for backend in backends() {
        let server = Server::start("resp", backend, &["--shards", "1"]);
        for cut in 1..PIPELINE.len() {
            let mut client = connect(&server);
            let (first, second) = PIPELINE.split_at(cut);
            client.write_all(first).expect("it reads");
            // An answer shows that the first part has been dealt with; some cuts leave none to wait for.
            if cut >= 6 {
                expect(&mut client, &ANSWERS[..7], "the first answer");
            }
            client.write_all(second).expect("it reads");
            let answers = if cut >= 6 { &ANSWERS[7..] } else { ANSWERS };
            expect(&mut client, answers, &format!("cut at {cut} on {backend}"));
        }
        let mut client = connect(&server);
        for byte in PIPELINE {
            client.write_all(&[*byte]).expect("it reads");
        }
        client.write_all(b"QUIT\r\nPING\r\n").expect("it reads");
        let answers = rest(&mut client);
        assert_eq!(answers, [ANSWERS, b"+OK\r\n"].concat(), "byte by byte on {backend}");
        drop(client);
        server.stop();
    }
}

#[test]
fn ten_thousand_commands_in_one_write_are_all_answered() {
    for backend in backends() {
        let server = Server::start("resp", backend, &[]);
        let mut client = connect(&server);
        let mut writer = client.try_clone().expect("a socket can be cloned");
        let commands = b"*2\r\n$4\r\nECHO\r\n$3\r\nabc\r\nPING\r\n".repeat(5_000);
        let writing = std::thread::spawn(move || {
            writer.write_all(&commands)?;
            writer.shutdown(Shutdown::Write)
        });
        let answers = rest(&mut client);
        writing.join().expect("no panic").expect("it reads");
        assert!(answers == b"$3\r\nabc\r\n+PONG\r\n".repeat(5_000), "{} bytes on {backend}", answers.len());
        drop(client);
        server.stop();
    }
}

#[test]
fn garbage_is_answered_with_an_error_and_the_end() {
    for backend in backends() {
        let server = Server::start("resp", backend, &[]);
        for garbage in [
            &b"*x\r\n"[..],
            b"*99999999\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$99999999999\r\n",
            b"*2\r\n$3\r\nGET\r\n$1\r\nkey\r\n",
        ] {
            let mut client = connect(&server);
            client.write_all(&[b"PING\r\n", garbage, b"PING\r\n"].concat()).expect("it reads");
            let answer = String::from_utf8(rest(&mut client)).expect("text");
            let is_error = answer.starts_with("+PONG\r\n-ERR protocol error: ") && answer.ends_with("\r\n");
            assert!(is_error && answer.lines().count() == 2, "{answer:?} on {backend}");
        }
        let mut client = connect(&server);
        // It may have closed before all of it is written.
        let _ = client.write_all(&vec![b'x'; 128 << 10]);
        assert!(rest(&mut client).starts_with(b"-ERR protocol error: too big inline request\r\n"));
        drop(client);
        server.stop();
    }
}

#[test]
fn a_value_above_the_limit_is_refused_before_it_is_read() {
    for backend in backends() {
        let server = Server::start("resp", backend, &[]);
        let mut client = connect(&server);
        client.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048576\r\n").expect("it reads");
        assert_eq!(rest(&mut client), b"-ERR a frame above the limit\r\n", "on {backend}");
        drop(client); // An open one would be waited for at the end.
        let mut client = connect(&server);
        client.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n").expect("it reads");
        client.write_all(&vec![b'v'; 1_000_000]).expect("it reads");
        client.write_all(b"\r\n").expect("it reads");
        expect(&mut client, b"+OK\r\n", backend);
        drop(client);
        server.stop();
    }
}

#[test]
fn who_asks_and_does_not_read_is_closed_and_hinders_nobody() {
    for backend in backends() {
        let server = Server::start("resp", backend, &["--shards", "1"]);
        let mut glutton = connect(&server);
        glutton.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n").expect("it reads");
        glutton.write_all(&vec![b'v'; 1_000_000]).expect("it reads");
        glutton.write_all(b"\r\n").expect("it reads");
        expect(&mut glutton, b"+OK\r\n", backend);
        // In one segment, so in one turn: the seventeenth answer finds no room, whatever the kernel's buffers take.
        glutton.write_all(&b"GET k\r\n".repeat(100)).expect("it reads");
        let mut other = connect(&server);
        for _ in 0..100 {
            other.write_all(b"PING\r\n").expect("it reads");
            expect(&mut other, b"+PONG\r\n", "the other client");
        }
        let answer = "$1000000\r\n".len() + 1_000_000 + 2;
        let answers = rest(&mut glutton).len();
        assert!(answers <= 16 * answer, "{answers} bytes came on {backend}");
        other.write_all(b"PING\r\n").expect("it reads");
        expect(&mut other, b"+PONG\r\n", "the other client");
        drop((glutton, other));
        server.stop();
    }
}

#[test]
fn an_interrupt_ends_it_in_order_while_two_hundred_clients_are_connected() {
    for backend in backends() {
        let server = Server::start("resp", backend, &[]);
        let mut clients: Vec<TcpStream> = (0..200).map(|_| connect(&server)).collect();
        for client in &mut clients {
            client.write_all(b"PING\r\n*2\r\n$3\r\nGET\r\n").expect("it reads"); // One whole, one half.
            expect(client, b"+PONG\r\n", backend);
        }
        // The clients see the end and close, as clients do; else each would be waited for.
        let closing = std::thread::spawn(move || {
            clients.into_iter().map(|mut client| client.read(&mut [0])).collect::<Vec<io::Result<usize>>>()
        });
        server.stop();
        let ends = closing.join().expect("no panic");
        assert!(ends.iter().all(|end| matches!(end, Ok(0))), "{ends:?} on {backend}");
    }
}
