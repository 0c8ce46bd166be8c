//! glommio: a task per connection, and streams that read and write at once before they ask the ring.
//!
//! The idle timeout is the stream's own `set_read_timeout`. To evict, the sender of a local channel is dropped, at which the
//! connection's task ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;

use futures_lite::future::or;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::channels::local_channel::{self, LocalSender};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use heartring_bench::server::{self, CLAIM_BYTES, GRANTED, ServePlan, Service, Work, number_in};
use heartring_peers::{BEAT_BYTES, Beats, RING_ENTRIES, Terms, hand_over, is_passing, prepare};
use socket2::Socket;

struct Glommio {
    executor: LocalExecutor,
    listener: Socket,
    terms: Terms,
}

/// Who holds a device's identity, by its number: the connection's number, and what evicts it when it is dropped.
type Holders = Rc<RefCell<HashMap<u32, (u64, LocalSender<()>)>>>;

impl Service for Glommio {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        prepare(&listener, plan, true)?;
        // The whole process keeps to its core already.
        let builder = LocalExecutorBuilder::new(Placement::Unbound).ring_depth(RING_ENTRIES as usize);
        Ok(Glommio { executor: builder.make()?, listener, terms: Terms::of(plan) })
    }

    fn run(self) -> io::Result<Infallible> {
        self.executor.run(accept_all(self.listener, self.terms))
    }
}

async fn accept_all(listener: Socket, terms: Terms) -> io::Result<Infallible> {
    let listener: TcpListener = hand_over(listener);
    let holders = Holders::default();
    let mut number = 0;
    loop {
        match listener.accept().await.map_err(io::Error::from) {
            Ok(conn) => {
                number += 1;
                glommio::spawn_local(serve(conn, number, terms, holders.clone())).detach();
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Until the peer ends it, is silent for too long, or breaks the protocol; whoever it is, nobody asks why.
async fn serve(mut conn: TcpStream, number: u64, terms: Terms, holders: Holders) {
    if conn.set_read_timeout(Some(terms.dead_within)).is_err() {
        return;
    }
    let _ = match terms.work {
        Work::Echo => echo(&mut conn, terms).await,
        Work::Beats => hear(&mut conn, terms).await,
        Work::Claims => claim(&mut conn, number, terms, &holders).await,
    };
}

async fn echo(conn: &mut TcpStream, terms: Terms) -> io::Result<()> {
    let mut buffer = vec![0; terms.buffer_bytes];
    loop {
        let count = conn.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        conn.write_all(&buffer[..count]).await?;
    }
}

async fn hear(conn: &mut TcpStream, terms: Terms) -> io::Result<()> {
    let mut buffer = vec![0; terms.buffer_bytes];
    let mut beats = Beats::default();
    loop {
        let count = conn.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let heard = beats.hear(&buffer[..count])?;
        if terms.answers_beats && heard > 0 {
            // Nothing but zeros was ever in it, and an answer is a beat.
            conn.write_all(&buffer[..heard * BEAT_BYTES]).await?;
        }
    }
}

async fn claim(conn: &mut TcpStream, number: u64, terms: Terms, holders: &Holders) -> io::Result<()> {
    let mut claim = [0; CLAIM_BYTES];
    conn.read_exact(&mut claim).await?;
    let device = number_in(claim);
    let (holder, evicted) = local_channel::new_bounded(1);
    holders.borrow_mut().insert(device, (number, holder));
    let stay = async {
        conn.write_all(GRANTED).await?;
        hear(conn, terms).await
    };
    let eviction = async {
        // Nothing is ever sent.
        evicted.recv().await;
        Ok(())
    };
    let outcome = or(stay, eviction).await;
    let mut holders = holders.borrow_mut();
    // Another may hold it by now.
    if holders.get(&device).is_some_and(|(holder, _)| *holder == number) {
        holders.remove(&device);
    }
    outcome
}

fn main() -> ExitCode {
    server::main::<Glommio>()
}
