//! A directory outside the process, as small as it can be: one thread that answers later.

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use heartring::{
    Bytes, Cause, ConnAt, Directory, Gateway, Handle, Identity, Instant, Order, Post, Request, ShardId,
};
use heartring_tests::On;

use super::talker::Habit;
use super::trial::{Trial, config, insist};

/// What a shard has in place of a partition: it passes everything on.
struct Front {
    shard: ShardId,
    requests: Sender<Request>,
}

impl Directory for Front {
    fn owner(&self, _identity: &Identity) -> ShardId {
        self.shard
    }

    fn handle(&mut self, _now: Instant, request: Request, _post: Post<'_>) {
        self.requests.send(request).expect("the directory lives as long as its fronts");
    }

    fn open_total(&self) -> u64 {
        0 // It keeps nothing.
    }
}

/// Serves until the last front is gone; returns how many identities are still held. An identity that is claimed while a takeover
/// of it goes on would have to wait; here nobody claims before the claim before is granted.
fn serve(requests: &Receiver<Request>, handle: &Handle) -> usize {
    let mut holders: HashMap<Identity, (ConnAt, u64)> = HashMap::new();
    let mut last_epoch = 0;
    let post = |to: ShardId, order: Order| {
        // When the gateway ends, its connections do, and no order matters.
        let _ = insist(|| handle.order(to, order.clone()));
    };
    for request in requests {
        match request {
            Request::Claim { identity, by } => {
                last_epoch += 1;
                let epoch = last_epoch;
                match holders.insert(identity.clone(), (by, epoch)) {
                    None => post(by.shard, Order::Grant { conn: by.conn, epoch }),
                    Some((ConnAt { shard, conn }, _)) => {
                        post(shard, Order::Evict { conn, identity, by: epoch, successor: Some(by) });
                    }
                }
            }
            Request::Release { identity, by } => {
                if holders.get(&identity).is_some_and(|(holder, _)| *holder == by) {
                    holders.remove(&identity);
                }
            }
            Request::Evicted { .. } => {}
            Request::Forward { identity, payload } => {
                if let Some(&(ConnAt { shard, conn }, epoch)) = holders.get(&identity) {
                    post(shard, Order::Deliver { conn, epoch, payload });
                }
            }
        }
    }
    holders.len()
}

pub(crate) fn a_directory_outside_answers_through_the_handle(on: On) {
    const IDENTITIES: usize = 16;
    let (requests, inbox) = mpsc::channel();
    let gateway = Gateway::new(config(on, 4));
    let handle = gateway.handle();
    let server = thread::spawn(move || serve(&inbox, &handle));
    let front = move |shard, shards| -> Box<dyn Directory> {
        assert_eq!(shards, 4);
        Box::new(Front { shard, requests: requests.clone() })
    };
    let trial = Trial::begin_with(gateway.directory(front), Habit::Quiet);
    let claim_all = || (0..IDENTITIES).map(|n| trial.claimant(&format!("device-{n}"))).collect::<Vec<_>>();
    let (former, mut present) = (claim_all(), claim_all());
    for (n, ((first, epoch), (second, later_epoch))) in former.iter().zip(&mut present).enumerate() {
        assert!(epoch < later_epoch);
        let cause = trial.board.wait("end of the former holder", |notes| {
            notes.closed.iter().find(|(peer, _)| *peer == first.addr()).map(|&(_, cause)| cause)
        });
        assert_eq!(cause, Cause::Superseded { by: *later_epoch });
        trial.handle.send_to(format!("device-{n}").as_bytes(), Bytes::from(format!("{n}\n"))).unwrap();
        second.expect(format!("{n}\n").as_bytes());
    }
    let summary = trial.finish();
    assert_eq!((summary.stats.claims, summary.stats.grants), (2 * IDENTITIES as u64, 2 * IDENTITIES as u64));
    assert_eq!(server.join().unwrap(), 0, "every identity was released");
}
