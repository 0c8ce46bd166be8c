//! tokio-uring: tokio's tasks and timers, with reads and writes on a ring that lend it their buffers.
//!
//! The idle timeout is tokio's, as in the tokio server. A read that is given up stays in the ring and keeps its socket open, so
//! whoever gives one up shuts the connection down, which ends the read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::Shutdown;
use std::process::ExitCode;
use std::rc::Rc;

use heartring_bench::server::{self, CLAIM_BYTES, GRANTED, ServePlan, Service, Work, number_in};
use heartring_peers::{BEAT_BYTES, Beats, RING_ENTRIES, Terms, is_passing, prepare};
use socket2::Socket;
use tokio::select;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpListener, TcpStream};

struct TokioUring {
    runtime: tokio_uring::Runtime,
    listener: Socket,
    terms: Terms,
}

/// Who holds a device's identity, by its number. To drop what stands here is to evict.
type Holders = Rc<RefCell<HashMap<u32, oneshot::Sender<()>>>>;

impl Service for TokioUring {
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self> {
        prepare(&listener, plan, true)?;
        let runtime = tokio_uring::Runtime::new(tokio_uring::builder().entries(RING_ENTRIES))?;
        Ok(TokioUring { runtime, listener, terms: Terms::of(plan) })
    }

    fn run(self) -> io::Result<Infallible> {
        self.runtime.block_on(accept_all(self.listener, self.terms))
    }
}

async fn accept_all(listener: Socket, terms: Terms) -> io::Result<Infallible> {
    let listener = TcpListener::from_std(listener.into());
    let holders = Holders::default();
    loop {
        match listener.accept().await {
            Ok((conn, _)) => drop(tokio_uring::spawn(serve(conn, terms, holders.clone()))),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Until the peer ends it, is silent for too long, or breaks the protocol; whoever it is, nobody asks why.
async fn serve(conn: TcpStream, terms: Terms, holders: Holders) {
    let _ = match terms.work {
        Work::Echo => echo(&conn, terms).await,
        Work::Beats => hear(&conn, terms).await,
        Work::Claims => claim(&conn, terms, &holders).await,
    };
    let _ = conn.shutdown(Shutdown::Both);
}

async fn echo(conn: &TcpStream, terms: Terms) -> io::Result<()> {
    let mut buffer = vec![0; terms.buffer_bytes];
    loop {
        let (count, filled) = timeout(terms.dead_within, conn.read(buffer)).await?;
        let count = count?;
        if count == 0 {
            return Ok(());
        }
        let (sent, message) = conn.write_all(filled.slice(..count)).await;
        sent?;
        buffer = message.into_inner();
    }
}

async fn hear(conn: &TcpStream, terms: Terms) -> io::Result<()> {
    let mut buffer = vec![0; terms.buffer_bytes];
    let mut beats = Beats::default();
    loop {
        let (count, filled) = timeout(terms.dead_within, conn.read(buffer)).await?;
        let count = count?;
        if count == 0 {
            return Ok(());
        }
        let heard = beats.hear(&filled[..count])?;
        buffer = filled;
        if terms.answers_beats && heard > 0 {
            // Nothing but zeros was ever in it, and an answer is a beat.
            let (sent, message) = conn.write_all(buffer.slice(..heard * BEAT_BYTES)).await;
            sent?;
            buffer = message.into_inner();
        }
    }
}

async fn claim(conn: &TcpStream, terms: Terms, holders: &Holders) -> io::Result<()> {
    let claim = timeout(terms.dead_within, read_claim(conn)).await??;
    let device = number_in(claim);
    let (holder, mut evicted) = oneshot::channel();
    holders.borrow_mut().insert(device, holder);
    let stay = async {
        conn.write_all(GRANTED).await.0?;
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

async fn read_claim(conn: &TcpStream) -> io::Result<[u8; CLAIM_BYTES]> {
    let mut buffer = vec![0; CLAIM_BYTES];
    let mut arrived = 0;
    while arrived < CLAIM_BYTES {
        let (count, rest) = conn.read(buffer.slice(arrived..)).await;
        match count? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => arrived += count,
        }
        buffer = rest.into_inner();
    }
    Ok(buffer.try_into().expect("it is that long"))
}

fn main() -> ExitCode {
    server::main::<TokioUring>()
}
