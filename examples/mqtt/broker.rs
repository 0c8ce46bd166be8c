//! One shard of the broker: who is connected, who listens, what is retained.
//!
//! Subscriptions live where their connection lives. A message goes to the listeners of its own shard at once, and as a letter
//! to every other shard, which does the same. Retained messages are kept on every shard.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use heartring::{Bytes, Cause, Closed, Conn, ConnId, ConnMap, Conns, Handler, SendError, ShardId};
use mqtt_protocol_core::mqtt::packet::{Qos, RetainHandling, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, SubackReasonCode,
};

use crate::message::Message;
use crate::reasons;
use crate::session::{Said, Session, dead_within, publish_once_at_most};
use crate::topics::{Topics, is_filter, matches};
use crate::wire::Mqtt;

/// Retained messages that are kept, so that nobody fills the memory with them.
const RETAINED_MAX: usize = 100_000;

/// What holds for every client.
#[derive(Clone)]
pub(crate) struct Rules {
    /// Who is let in, if not everybody.
    pub(crate) user: Option<(String, String)>,
    /// The keep-alives that are granted, in seconds.
    pub(crate) keep_alive: RangeInclusive<u16>,
    pub(crate) packet_bytes_max: u32,
}

/// See the module's own text.
pub(crate) struct Broker {
    rules: Rules,
    sessions: ConnMap<Session>,
    topics: Topics,
    retained: BTreeMap<String, Message>,
    /// How many client ids this shard has given out.
    assigned: u64,
}

impl Broker {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            sessions: ConnMap::new(),
            topics: Topics::default(),
            retained: BTreeMap::new(),
            assigned: 0,
        }
    }

    /// CONNECT: who is it, and may it come in? The answer waits for the claim.
    fn connect(&mut self, conn: &mut Conn<'_>) {
        let Some(session) = self.sessions.get_mut(conn.id()) else { return };
        let Some(hello) = &mut session.hello else { return };
        let login = hello.login.as_ref().map(|(user, password)| (user.as_str(), password.as_slice()));
        let known = self.rules.user.as_ref().map(|(user, password)| (user.as_str(), password.as_bytes()));
        if known.is_some() && login != known {
            let (reason, code) =
                (ConnectReasonCode::BadUserNameOrPassword, ConnectReturnCode::BadUserNameOrPassword);
            return send_and_close(conn, session.refuse(reason, code));
        }
        if hello.client_id.is_empty() {
            self.assigned += 1;
            hello.assign(format!("heartring-{}-{}", conn.at(), self.assigned));
        }
        let keep_alive = hello.keep_alive(&self.rules.keep_alive);
        let claimed = conn.claim(hello.client_id.as_bytes());
        if claimed.is_err() || conn.set_dead_within(dead_within(keep_alive)).is_err() {
            let (reason, code) =
                (ConnectReasonCode::ClientIdentifierNotValid, ConnectReturnCode::IdentifierRejected);
            send_and_close(conn, session.refuse(reason, code));
        }
    }

    fn publish(&mut self, conn: &mut Conn<'_>, message: Message) {
        let conns = &mut conn.conns();
        let letter = message.encode();
        for shard in (0..conns.shards()).map(ShardId).filter(|shard| *shard != message.from.shard) {
            // A shard that does not take its mail is stuck; its clients will find out from their own deadlines.
            let _ = conns.post(shard, letter.clone());
        }
        self.route(conns, message);
    }

    /// Gives a message to the listeners of this shard.
    fn route(&mut self, conns: &mut Conns<'_>, message: Message) {
        let mut shared: [[Option<Bytes>; 2]; 2] = Default::default();
        for (listener, options) in self.topics.listeners(&message.topic) {
            let is_own = message.from.conn == listener && message.from.shard == conns.shard();
            if options.nl() && is_own {
                continue;
            }
            let Some(session) = self.sessions.get_mut(listener) else { continue };
            let (is_v5, retain) = (session.is_v5(), options.rap() && message.retain);
            if message.qos(options.qos()) == Qos::AtMostOnce {
                let packet = &mut shared[usize::from(is_v5)][usize::from(retain)];
                if packet.is_none() {
                    *packet = publish_once_at_most(&message, is_v5, retain);
                }
                // At most once: who does not take it, misses it.
                let _ = packet.clone().map(|packet| conns.send(listener, packet));
            } else {
                let packets = session.publish_once_or_more(&message, retain);
                deliver_or_close(conns, listener, packets);
            }
        }
        if message.retain {
            self.keep(message);
        }
    }

    /// Keeps a retained message; an empty one clears its topic.
    fn keep(&mut self, message: Message) {
        if message.payload.is_empty() {
            self.retained.remove(&message.topic);
        } else if self.retained.len() < RETAINED_MAX || self.retained.contains_key(&message.topic) {
            self.retained.insert(message.topic.clone(), message);
        }
    }

    fn subscribe(&mut self, conn: &mut Conn<'_>, id: u16, entries: &[SubEntry]) {
        let listener = conn.id();
        let granted: Vec<_> = entries.iter().map(|entry| grant(entry)).collect();
        let Some(session) = self.sessions.get_mut(listener) else { return };
        let answer = session.subscribed(id, &granted);
        send_or_close(conn, answer);
        for (entry, granted) in entries.iter().zip(granted) {
            let Ok(qos) = granted else { continue };
            let (filter, options) = (entry.topic_filter(), entry.sub_opts().clone().set_qos(qos));
            let is_new = self.topics.subscribe(filter, listener, options.clone());
            if is_new && let Some(session) = self.sessions.get_mut(listener) {
                session.filters.push(filter.to_owned());
            }
            match options.rh() {
                RetainHandling::SendRetained => self.send_retained(conn, filter, &options),
                RetainHandling::SendRetainedIfNotExists if is_new => {
                    self.send_retained(conn, filter, &options)
                }
                RetainHandling::SendRetainedIfNotExists | RetainHandling::DoNotSendRetained => {}
            }
        }
    }

    fn send_retained(&mut self, conn: &mut Conn<'_>, filter: &str, options: &SubOpts) {
        let Some(session) = self.sessions.get_mut(conn.id()) else { return };
        for message in self.retained.values().filter(|message| matches(filter, &message.topic)) {
            let packets = if message.qos(options.qos()) == Qos::AtMostOnce {
                publish_once_at_most(message, session.is_v5(), true).map(|packet| vec![packet])
            } else {
                session.publish_once_or_more(message, true)
            };
            let listener = conn.id();
            deliver_or_close(&mut conn.conns(), listener, packets);
        }
    }

    fn unsubscribe(&mut self, conn: &mut Conn<'_>, id: u16, filters: &[String]) {
        let existed: Vec<bool> =
            filters.iter().map(|filter| self.topics.unsubscribe(filter, conn.id())).collect();
        let Some(session) = self.sessions.get_mut(conn.id()) else { return };
        session.filters.retain(|filter| !filters.contains(filter));
        let answer = session.unsubscribed(id, &existed);
        send_or_close(conn, answer);
    }

    /// Says why, where the protocol has words for it, and closes.
    fn give_up(&mut self, conn: &mut Conn<'_>, reason: DisconnectReasonCode) {
        let is_v5 = self.sessions.get(conn.id()).is_some_and(Session::is_v5);
        send_and_close(conn, reasons::disconnect(reason).filter(|_| is_v5));
    }
}

impl Handler for Broker {
    type Protocol = Mqtt;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        self.sessions.insert(conn.id(), Session::new());
    }

    fn received(&mut self, conn: &mut Conn<'_>, packet: &[u8]) {
        let Some(session) = self.sessions.get_mut(conn.id()) else { return };
        let mut answers = Vec::new();
        let said = session.receive(packet, &mut answers);
        let has_answered = !answers.is_empty();
        send_or_close(conn, answers);
        match said {
            Ok(Said::Connect) => self.connect(conn),
            Ok(Said::Publish { qos: Qos::ExactlyOnce, .. }) => {
                self.give_up(conn, DisconnectReasonCode::QosNotSupported)
            }
            Ok(Said::Publish { topic, payload, qos, retain }) => {
                let at_least_once = qos == Qos::AtLeastOnce;
                let from = conn.at();
                self.publish(conn, Message { from, topic, payload, at_least_once, retain });
            }
            Ok(Said::Subscribe { id, entries }) => self.subscribe(conn, id, &entries),
            Ok(Said::Unsubscribe { id, filters }) => self.unsubscribe(conn, id, &filters),
            Ok(Said::Disconnect { with_will }) => {
                if !with_will {
                    session.will = None;
                }
                conn.close();
            }
            Ok(Said::Other) => {}
            // The codec may have said why itself.
            Err(_) if has_answered => conn.close(),
            Err(error) => self.give_up(conn, reasons::of_error(error)),
        }
    }

    /// The client id is this connection's now: whoever had it has been disconnected.
    fn claimed(&mut self, conn: &mut Conn<'_>, _epoch: u64) {
        let Some(session) = self.sessions.get_mut(conn.id()) else { return };
        let Some(hello) = &session.hello else { return };
        let keep_alive = hello.keep_alive(&self.rules.keep_alive);
        let answer = session.accept(keep_alive, self.rules.packet_bytes_max);
        send_or_close(conn, answer);
    }

    fn closing(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        let Some(session) = self.sessions.get_mut(conn.id()) else { return };
        if session.hello.is_some() {
            // Not let in yet: its claim was refused, because two clients fight for the id.
            if let Cause::Refused(_) = closed.cause {
                let (busy, unavailable) =
                    (ConnectReasonCode::ServerBusy, ConnectReturnCode::ServerUnavailable);
                send_or_close(conn, session.refuse(busy, unavailable));
            }
        } else if session.is_v5() {
            let reason = reasons::of_cause(&closed.cause);
            send_or_close(conn, reason.and_then(reasons::disconnect));
        }
    }

    /// The last will goes out for every cause but a DISCONNECT.
    fn closed(&mut self, conn: &mut Conn<'_>, _closed: &Closed) {
        let Some(session) = self.sessions.remove(conn.id()) else { return };
        for filter in &session.filters {
            self.topics.unsubscribe(filter, conn.id());
        }
        // Who was not let in has no will either.
        if session.hello.is_none()
            && let Some(will) = session.will
        {
            let (from, at_least_once, retain) = (conn.at(), will.at_least_once, will.retain);
            self.publish(
                conn,
                Message { from, topic: will.topic, payload: will.payload, at_least_once, retain },
            );
        }
        assert!(!self.sessions.is_empty() || self.topics.is_empty(), "a subscription without a client");
    }

    /// A message from another shard.
    fn message(&mut self, conns: &mut Conns<'_>, letter: Bytes) {
        if let Some(message) = Message::decode(&letter) {
            self.route(conns, message);
        }
    }
}

/// With which QoS a filter is granted, or why not.
fn grant(entry: &SubEntry) -> Result<Qos, SubackReasonCode> {
    let filter = entry.topic_filter();
    if filter.starts_with("$share/") {
        return Err(SubackReasonCode::SharedSubscriptionsNotSupported);
    }
    if !is_filter(filter) {
        return Err(SubackReasonCode::TopicFilterInvalid);
    }
    let asked = entry.sub_opts().qos();
    Ok(if asked == Qos::AtMostOnce { Qos::AtMostOnce } else { Qos::AtLeastOnce })
}

fn send_or_close(conn: &mut Conn<'_>, packets: impl IntoIterator<Item = Bytes>) {
    let sent: Result<(), SendError> = packets.into_iter().try_for_each(|packet| conn.send(packet));
    if sent.is_err() {
        conn.close(); // It asks and does not read the answers.
    }
}

fn send_and_close(conn: &mut Conn<'_>, packets: impl IntoIterator<Item = Bytes>) {
    send_or_close(conn, packets);
    conn.close();
}

/// At least once: who cannot take it is closed, so that it knows that something is missing.
fn deliver_or_close(conns: &mut Conns<'_>, listener: ConnId, packets: Option<Vec<Bytes>>) {
    let sent =
        packets.is_some_and(|packets| packets.into_iter().all(|packet| conns.send(listener, packet).is_ok()));
    if !sent {
        conns.close(listener);
    }
}
