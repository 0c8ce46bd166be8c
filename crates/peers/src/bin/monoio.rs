//! monoio on io_uring: a task per connection, reads and writes that lend their buffers.
//!
//! The idle timeout is `timeout` around each read, as in the tokio server: monoio's timers are tokio's. A read that is given up
//! is cancelled in the ring by the runtime. An evicted connection's read is cancelled by its `Canceller`, which is monoio's own
//! way to end what another task waits for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use heartring_bench::server::{self, CLAIM_BYTES, GRANTED, ServePlan, Service, Work, number_in};
use heartring_peers::{BEAT_BYTES, Beats, RING_ENTRIES, Terms, is_passing, prepare};
use monoio::io::{
    AsyncReadRent, AsyncReadRentExt, AsyncWriteRentExt, CancelHandle, CancelableAsyncReadRent, Canceller,
};
use monoio::net::{TcpListener, TcpStream};
use monoio::time::{TimeDriver, timeout};
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};
use socket2::Socket;

struct Monoio {
    runtime: Runtime<TimeDriver<IoUringDriver>>,
    listener: Socket,
    terms: Terms,
}

/// Who holds a device's identity, by its number: the connection's number, and how to end it.
type Holders = Rc<RefCell<HashMap<u32, (u64, Canceller)>>>;

impl Service for Monoio {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        prepare(&listener, plan, true)?;
        let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES);
        Ok(Monoio { runtime: builder.enable_timer().build()?, listener, terms: Terms::of(plan) })
    }

    fn run(mut self) -> io::Result<Infallible> {
        self.runtime.block_on(accept_all(self.listener, self.terms))
    }
}

async fn accept_all(listener: Socket, terms: Terms) -> io::Result<Infallible> {
    let listener = TcpListener::from_std(listener.into())?;
    let holders = Holders::default();
    let mut number = 0;
    loop {
        match listener.accept().await {
            Ok((conn, _)) => {
                number += 1;
                drop(monoio::spawn(serve(conn, number, terms, holders.clone())));
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Until the peer ends it, is silent for too long, or breaks the protocol; whoever it is, nobody asks why.
async fn serve(mut conn: TcpStream, number: u64, terms: Terms, holders: Holders) {
    let _ = match terms.work {
        Work::Echo => echo(&mut conn, terms).await,
        Work::Beats => hear(&mut conn, terms, None).await,
        Work::Claims => claim(&mut conn, number, terms, &holders).await,
    };
}

async fn echo(conn: &mut TcpStream, terms: Terms) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(terms.buffer_bytes);
    loop {
        let (count, message) = timeout(terms.dead_within, conn.read(buffer)).await?;
        if count? == 0 {
            return Ok(());
        }
        // As long as what was read.
        let (sent, message) = conn.write_all(message).await;
        sent?;
        buffer = message;
    }
}

/// Until it is silent for too long, or evicted, where it can be.
async fn hear(conn: &mut TcpStream, terms: Terms, evicted: Option<&CancelHandle>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(terms.buffer_bytes);
    let mut beats = Beats::default();
    loop {
        let read = async {
            match evicted {
                Some(evicted) => conn.cancelable_read(buffer, evicted.clone()).await,
                None => conn.read(buffer).await,
            }
        };
        let (count, message) = timeout(terms.dead_within, read).await?;
        if count? == 0 {
            return Ok(());
        }
        let heard = beats.hear(&message)?;
        buffer = message;
        if terms.answers_beats && heard > 0 {
            buffer.resize(heard * BEAT_BYTES, 0); // an answer is a beat
            let (sent, message) = conn.write_all(buffer).await;
            sent?;
            buffer = message;
        }
    }
}

async fn claim(conn: &mut TcpStream, number: u64, terms: Terms, holders: &Holders) -> io::Result<()> {
    let device = number_in(read_claim(conn, terms.dead_within).await?);
    let canceller = Canceller::new();
    let evicted = canceller.handle();
    let former = holders.borrow_mut().insert(device, (number, canceller));
    if let Some((_, former)) = former {
        former.cancel();
    }
    let granted = conn.write_all(GRANTED).await.0;
    let outcome = match granted {
        Ok(_) => hear(conn, terms, Some(&evicted)).await,
        Err(error) => Err(error),
    };
    let mut holders = holders.borrow_mut();
    // Another may hold it by now.
    if holders.get(&device).is_some_and(|(holder, _)| *holder == number) {
        holders.remove(&device);
    }
    outcome
}

async fn read_claim(conn: &mut TcpStream, within: Duration) -> io::Result<[u8; CLAIM_BYTES]> {
    let (count, claim) = timeout(within, conn.read_exact(Box::new([0; CLAIM_BYTES]))).await?;
    count.map(|_| *claim)
}

fn main() -> ExitCode {
    server::main::<Monoio>()
}
