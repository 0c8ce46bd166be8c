//! tokio: a task per connection on the runtime of one thread.
//!
//! The idle timeout is `timeout` around each read. The other way, one pinned `Sleep` per connection that each message pushes
//! back, spares the timer wheel, but `select!` around each read costs as much: measured, the two cannot be told apart.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;

use heartring_bench::server::{self, CLAIM_BYTES, GRANTED, ServePlan, Service, Work, number_in};
use heartring_peers::{BEAT_BYTES, Beats, Terms, is_passing, prepare};
use socket2::Socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::select;
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::timeout;

struct Tokio {
    /// Of local tasks, which share what they hold without a lock.
    runtime: LocalRuntime,
    listener: Socket,
    terms: Terms,
}

/// Who holds a device's identity, by its number. To drop what stands here is to evict.
type Holders = Rc<RefCell<HashMap<u32, oneshot::Sender<()>>>>;

impl Service for Tokio {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        prepare(&listener, plan, false)?;
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default())?;
        Ok(Tokio { runtime, listener, terms: Terms::of(plan) })
    }

    fn run(self) -> io::Result<Infallible> {
        self.runtime.block_on(accept_all(self.listener, self.terms))
    }
}

async fn accept_all(listener: Socket, terms: Terms) -> io::Result<Infallible> {
    let listener = TcpListener::from_std(listener.into())?;
    let holders = Holders::default();
    loop {
        match listener.accept().await {
            Ok((conn, _)) => drop(spawn_local(serve(conn, terms, holders.clone()))),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Until the peer ends it, is silent for too long, or breaks the protocol; whoever it is, nobody asks why.
async fn serve(conn: TcpStream, terms: Terms, holders: Holders) {
    let _ = match terms.work {
        Work::Echo => echo(conn, terms).await,
        Work::Beats => hear(conn, terms).await,
        Work::Claims => claim(conn, terms, &holders).await,
    };
}

async fn echo(mut conn: TcpStream, terms: Terms) -> io::Result<()> {
    let mut buffer = vec![0; terms.buffer_bytes];
    loop {
        let count = timeout(terms.dead_within, conn.read(&mut buffer)).await??;
        if count == 0 {
            return Ok(());
        }
        conn.write_all(&buffer[..count]).await?;
    }
}

async fn hear(mut conn: TcpStream, terms: Terms) -> io::Result<()> {
    let mut buffer = vec![0; terms.buffer_bytes];
    let mut beats = Beats::default();
    loop {
        let count = timeout(terms.dead_within, conn.read(&mut buffer)).await??;
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

async fn claim(mut conn: TcpStream, terms: Terms, holders: &Holders) -> io::Result<()> {
    let mut claim = [0; CLAIM_BYTES];
    timeout(terms.dead_within, conn.read_exact(&mut claim)).await??;
    let device = number_in(claim);
    let (holder, mut evicted) = oneshot::channel();
    holders.borrow_mut().insert(device, holder);
    let stay = async {
        conn.write_all(GRANTED).await?;
        hear(conn, terms).await
    };
    let outcome = select! {
        outcome = stay => outcome,
        _ = &mut evicted => return Ok(()),
    };
    drop(evicted);
    let mut holders = holders.borrow_mut();
    // Another may hold it by now.
    if holders.get(&device).is_some_and(oneshot::Sender::is_closed) {
        holders.remove(&device);
    }
    outcome
}

fn main() -> ExitCode {
    server::main::<Tokio>()
}
