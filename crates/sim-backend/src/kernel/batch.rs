//! What one `wait` tells, and in which order.

use heartring_core::{Completion, ConnId};

use super::Kernel;
use crate::fault::Fault;

/// How one `wait` tells what there is.
pub(crate) struct Batch {
    /// No more completions than that.
    pub(crate) told_max: usize,
    /// What was received comes before everything else, not after it.
    pub(crate) received_first: bool,
}

impl Kernel {
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty() || !self.ready.is_empty() || self.waker.is_rung()
    }

    pub(crate) fn take_news(&mut self) -> Option<Completion<'static>> {
        self.news.pop_front()
    }

    /// Decides how what there is now is told.
    pub(crate) fn begin_batch(&mut self) -> Batch {
        let count = self.news.len() + self.ready.len();
        let mut batch = Batch { told_max: usize::MAX, received_first: false };
        if count < 2 {
            return batch;
        }
        if self.faults.strikes(Fault::ToldInAnotherOrder) {
            self.reorder();
            batch.received_first = self.faults.coin();
        }
        if self.faults.strikes(Fault::ToldInParts) {
            batch.told_max = self.faults.part(count - 1);
        }
        batch
    }

    /// Lets some connections overtake others. What is told of one connection stays in order, and `Unlistened` behind
    /// everything.
    fn reorder(&mut self) {
        let early = self.faults.dice().roll();
        let is_early =
            |news: &Completion<'_>| conn_of(news).is_some_and(|conn| early >> (conn.slot() % 64) & 1 != 0);
        let (front, back): (Vec<_>, Vec<_>) = self.news.drain(..).partition(is_early);
        self.news.extend(front.into_iter().chain(back));
        if !self.ready.is_empty() {
            let first = self.faults.dice().below(self.ready.len());
            self.ready.rotate_left(first);
        }
    }
}

/// The connection that a completion belongs to.
fn conn_of(completion: &Completion<'_>) -> Option<ConnId> {
    match *completion {
        Completion::Accepted { conn, .. }
        | Completion::AcceptFailed { conn, .. }
        | Completion::Received { conn, .. }
        | Completion::RecvEnded { conn, .. }
        | Completion::WatchEnded { conn, .. }
        | Completion::Sent { conn, .. }
        | Completion::Examined { conn, .. }
        | Completion::ShutDown { conn, .. }
        | Completion::Closed { conn } => Some(conn),
        Completion::Unlistened { .. } | Completion::Woken => None,
    }
}
