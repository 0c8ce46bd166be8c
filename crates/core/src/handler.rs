//! What a gateway's own code implements.

use bytes::Bytes;

use crate::cause::Closed;
use crate::conn::{Conn, Conns};
use crate::protocol::Protocol;

/// The gateway's own code: one value per shard, called by that shard's thread only, so it needs no lock.
///
/// A method should not block: while it does, the shard reads nothing. If it does all the same, nobody is blamed: the shard
/// sees that it was away and gives every peer another beat.
pub trait Handler {
    /// How bytes become frames.
    type Protocol: Protocol + Default;

    /// A connection was accepted. It has proved nothing yet.
    fn opened(&mut self, conn: &mut Conn<'_>) {
        let _ = conn;
    }

    /// A data frame arrived. Heartbeats, pings and pongs are dealt with before.
    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]);

    /// A beat is overdue. The protocol's ping, if it has one, has just been queued.
    fn overdue(&mut self, conn: &mut Conn<'_>) {
        let _ = conn;
    }

    /// The claim of [`Conn::claim`] is granted: the connection holds the identity, its former holder has ended, and what the
    /// peer sent after its claim is delivered from now on. Epochs of one identity grow from holder to holder.
    fn claimed(&mut self, conn: &mut Conn<'_>, epoch: u64) {
        let _ = (conn, epoch);
    }

    /// The cause is decided, and what is sent now is the last word: the reason of a disconnect, in protocols that have one.
    /// To a peer that is already gone, nothing more can be sent; and one that is reset hears nothing if its socket has not taken
    /// a send for a tenth of a second. [`Handler::closed`] follows, at once or, after a missed heartbeat, when the grace period
    /// is over; what the device still sends within it comes to [`Handler::late`]. Our side is shut at once then: of several
    /// payloads only the first goes out.
    fn closing(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        let _ = (conn, closed);
    }

    /// A frame that arrived in grace; a heartbeat is empty.
    fn late(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        let _ = (conn, frame);
    }

    /// A connection that was congested can take more: its queue has fallen below `send_queue_low`.
    fn writable(&mut self, conn: &mut Conn<'_>) {
        let _ = conn;
    }

    /// The connection has ended, for exactly one cause. Called once for each `opened`, and last: nothing of the connection
    /// is delivered afterwards and nothing more can be sent to it.
    fn closed(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        let _ = (conn, closed);
    }

    /// A message came from another shard's handler or from outside: what was given to
    /// [`Conns::post`](crate::Conns::post) or to the gateway's handle.
    fn message(&mut self, conns: &mut Conns<'_>, message: Bytes) {
        let _ = (conns, message);
    }

    /// Called every [`Config::tick_every`](crate::Config::tick_every).
    fn tick(&mut self, conns: &mut Conns<'_>) {
        let _ = conns;
    }
}
