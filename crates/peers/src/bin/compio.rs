//! compio on io_uring: a task per connection, reads and writes that lend their buffers.
//!
//! The idle timeout is `timeout` around each read: compio's timers cannot be pushed back. An evicted connection is ended by its
//! `CancelToken`, which its task waits for: bound to each read with `with_cancel` instead, the token would remember all reads of
//! the connection's life.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;

use compio::driver::ProactorBuilder;
use compio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{CancelToken, Runtime, RuntimeBuilder};
use compio::time::timeout;
use futures_lite::future::or;
use heartring_bench::server::{self, CLAIM_BYTES, GRANTED, ServePlan, Service, Work, number_in};
use heartring_peers::{BEAT_BYTES, Beats, RING_ENTRIES, Terms, is_passing, prepare};
use socket2::Socket;

struct Compio {
    runtime: Runtime,
    listener: Socket,
    terms: Terms,
}

/// Who holds a device's identity, by its number, and how to end it.
type Holders = Rc<RefCell<HashMap<u32, CancelToken>>>;

impl Service for Compio {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        prepare(&listener, plan, true)?;
        let mut proactor = ProactorBuilder::new();
        // What compio's documentation offers to a runtime that stays on one thread.
        proactor.capacity(RING_ENTRIES).single_issuer(true).defer_taskrun(true);
        let runtime = RuntimeBuilder::new().with_proactor(proactor).build()?;
        Ok(Compio { runtime, listener, terms: Terms::of(plan) })
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
            Ok((conn, _)) => compio::runtime::spawn(serve(conn, terms, holders.clone())).detach(),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Until the peer ends it, is silent for too long, or breaks the protocol; whoever it is, nobody asks why.
async fn serve(mut conn: TcpStream, terms: Terms, holders: Holders) {
    let _ = match terms.work {
        Work::Echo => echo(&mut conn, terms).await,
        Work::Beats => hear(&mut conn, terms).await,
        Work::Claims => claim(&mut conn, terms, &holders).await,
    };
}

async fn echo(conn: &mut TcpStream, terms: Terms) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(terms.buffer_bytes);
    loop {
        buffer.clear();
        let (count, message) = within(terms, conn.read(buffer)).await?.into();
        if count? == 0 {
            return Ok(());
        }
        let (sent, message) = conn.write_all(message).await.into();
        sent?;
        buffer = message;
    }
}

async fn hear(conn: &mut TcpStream, terms: Terms) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(terms.buffer_bytes);
    let mut beats = Beats::default();
    loop {
        buffer.clear();
        let (count, message) = within(terms, conn.read(buffer)).await?.into();
        if count? == 0 {
            return Ok(());
        }
        let heard = beats.hear(&message)?;
        buffer = message;
        if terms.answers_beats && heard > 0 {
            buffer.resize(heard * BEAT_BYTES, 0); // an answer is a beat
            let (sent, message) = conn.write_all(buffer).await.into();
            sent?;
            buffer = message;
        }
    }
}

async fn claim(conn: &mut TcpStream, terms: Terms, holders: &Holders) -> io::Result<()> {
    let (read, claim) = within(terms, conn.read_exact([0; CLAIM_BYTES])).await?.into();
    read?;
    let device = number_in(claim);
    let evicted = CancelToken::new();
    let former = holders.borrow_mut().insert(device, evicted.clone());
    if let Some(former) = former {
        former.cancel();
    }
    let stay = async {
        conn.write_all(GRANTED).await.0?;
        hear(conn, terms).await
    };
    let eviction = async {
        evicted.clone().wait().await;
        Ok(())
    };
    let outcome = or(stay, eviction).await;
    let mut holders = holders.borrow_mut();
    // Another may hold it by now.
    if holders.get(&device) == Some(&evicted) {
        holders.remove(&device);
    }
    outcome
}

async fn within<F: Future>(terms: Terms, future: F) -> io::Result<F::Output> {
    timeout(terms.dead_within, future).await.map_err(|_| io::ErrorKind::TimedOut.into())
}

fn main() -> ExitCode {
    server::main::<Compio>()
}
