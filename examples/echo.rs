//! Sends every line back. Try it: `cargo run --release --example echo`, then `nc localhost 7000`.

use heartring::{Config, Conn, Gateway, Handler, Lines};

struct Echo;

impl Handler for Echo {
    type Protocol = Lines;

    fn received(&mut self, conn: &mut Conn<'_>, line: &[u8]) {
        if conn.send_copy(&[line, b"\n"].concat()).is_err() {
            conn.close(); // It asks and does not read the answers.
        }
    }
}

fn main() -> Result<(), heartring::Error> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".into());
    println!("echo on {addr}; an empty line is a heartbeat, 30 s without a line is death");
    Gateway::new(Config::default()).listen(addr).run(|_shard| Echo)?;
    Ok(())
}
