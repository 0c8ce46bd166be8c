//! One shard of the broker: who is connected, who listens, what is retained.
//!
//! A subscription lives where its connection lives. A message goes to the listeners of its own shard, and as a letter to the
//! other shards, which do the same. Retained messages are kept on every shard.

use std::collections::BTreeMap;

use heartring::{Bytes, Cause, Closed, Conn, ConnId, ConnMap, Conns, Handler, MqttPackets};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{PacketBuildResult, PacketBuilder, PacketData};
use mqtt_protocol_core::mqtt::packet::{Packet, Property, Qos, RetainHandling, SubEntry, v5_0 as v5};
use mqtt_protocol_core::mqtt::result_code::{MqttError as Reason, SubackReasonCode, UnsubackReasonCode};

use crate::rules::Rules;
use crate::session::{self, Session};
use crate::topics::{Topics, is_filter, is_topic};

/// Retained messages of all, and subscriptions of one client: nobody fills the memory with them.
const RETAINED_MAX: usize = 100_000;
const FILTERS_MAX: usize = 1000;

/// See the module's own text.
pub(crate) struct Broker {
    rules: Rules,
    sessions: ConnMap<Session>,
    topics: Topics,
    retained: BTreeMap<String, v5::Publish>,
}

impl Broker {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, sessions: ConnMap::new(), topics: Topics::default(), retained: BTreeMap::new() }
    }

    /// Does what a packet asks for. An error is why the connection must end.
    fn serve(&mut self, conn: &mut Conn<'_>, packet: &[u8]) -> Result<(), Reason> {
        let session = &mut self.sessions[conn.id()];
        match session.hear(conn, packet)? {
            Packet::V5_0Connect(hello) => {
                session.will = session::will(&hello)?;
                self.rules.admit(conn, session.hello.insert(hello))?;
            }
            Packet::V5_0Publish(message) => self.publish(conn, &message)?,
            Packet::V5_0Puback(_) => session.send_waiting(conn),
            Packet::V5_0Subscribe(wish) => self.subscribe(conn, &wish)?,
            Packet::V5_0Unsubscribe(wish) => self.unsubscribe(conn, &wish)?,
            Packet::V5_0Disconnect(goodbye) => {
                // A client that gives a reason wants its will published all the same.
                session.will.take_if(|_| goodbye.reason_code().is_none_or(|reason| reason as u8 == 0));
                conn.close();
            }
            _ => return Err(Reason::ProtocolError), // Another authentication, or what belongs to QoS 2.
        }
        Ok(())
    }

    fn publish(&mut self, conn: &mut Conn<'_>, message: &v5::Publish) -> Result<(), Reason> {
        if message.qos() == Qos::ExactlyOnce {
            return Err(Reason::QosNotSupported);
        }
        if !is_topic(message.topic_name()) {
            return Err(Reason::TopicNameInvalid);
        }
        let publisher = Some(conn.id());
        self.route(&mut conn.conns(), message, publisher);
        let posted = conn.conns().post_to_others(&message.to_continuous_buffer().into());
        let Some(id) = message.packet_id() else { return Ok(()) };
        posted.map_err(|_| Reason::ServerBusy)?; // What is not acknowledged will be published again.
        self.sessions[conn.id()].tell(conn, v5::Puback::builder().packet_id(id).build()?)
    }

    /// Gives a message to the listeners of this shard.
    fn route(&mut self, conns: &mut Conns<'_>, message: &v5::Publish, publisher: Option<ConnId>) {
        let (topic, retain) = (message.topic_name(), message.retain());
        for (listener, options) in self.topics.listeners(topic) {
            let is_wanted = !options.nl() || publisher != Some(listener);
            if let Some(conn) = &mut conns.get(listener).filter(|_| is_wanted) {
                self.sessions[listener].deliver(conn, message, options.qos(), retain && options.rap());
            }
        }
        if retain && message.payload().is_empty() {
            self.retained.remove(topic);
        } else if retain && (self.retained.len() < RETAINED_MAX || self.retained.contains_key(topic)) {
            self.retained.insert(topic.to_owned(), message.clone());
        }
    }

    fn subscribe(&mut self, conn: &mut Conn<'_>, wish: &v5::Subscribe) -> Result<(), Reason> {
        if wish.props().iter().any(|property| matches!(property, Property::SubscriptionIdentifier(_))) {
            return Err(Reason::SubscriptionIdentifiersNotSupported);
        }
        let codes = wish.entries().iter().map(|entry| self.grant(conn, entry).unwrap_or_else(|why| why));
        let suback = v5::Suback::builder().packet_id(wish.packet_id()).reason_codes(codes.collect());
        self.sessions[conn.id()].tell(conn, suback.build()?)
    }

    /// Subscribes to one filter and sends what is retained, before SUBACK as section 3.8.4 of 5.0 allows.
    fn grant(&mut self, conn: &mut Conn<'_>, entry: &SubEntry) -> Result<SubackReasonCode, SubackReasonCode> {
        let (filter, options, listener) = (entry.topic_filter(), *entry.sub_opts(), conn.id());
        let session = &mut self.sessions[listener];
        if filter.starts_with("$share/") {
            return Err(SubackReasonCode::SharedSubscriptionsNotSupported);
        }
        if !is_filter(filter) {
            return Err(SubackReasonCode::TopicFilterInvalid);
        }
        if session.filters.len() == FILTERS_MAX && !session.filters.contains(filter) {
            return Err(SubackReasonCode::QuotaExceeded);
        }
        let is_new = session.filters.insert(filter.to_owned());
        let qos = options.qos().min(Qos::AtLeastOnce);
        self.topics.subscribe(filter, listener, options.set_qos(qos));
        // A tree with this filter alone tells what it means.
        let mut only = Topics::default();
        only.subscribe(filter, listener, options);
        let is_known = options.rh() == RetainHandling::SendRetainedIfNotExists && !is_new;
        let is_wanted = options.rh() != RetainHandling::DoNotSendRetained && !is_known;
        for message in self.retained.values().filter(|_| is_wanted) {
            if !only.listeners(message.topic_name()).is_empty() {
                session.deliver(conn, message, qos, true);
            }
        }
        SubackReasonCode::try_from(qos as u8).map_err(|_| SubackReasonCode::UnspecifiedError)
    }

    fn unsubscribe(&mut self, conn: &mut Conn<'_>, wish: &v5::Unsubscribe) -> Result<(), Reason> {
        let session = &mut self.sessions[conn.id()];
        let codes = wish.entries().iter().map(|filter| {
            self.topics.unsubscribe(filter.as_str(), conn.id());
            let existed = session.filters.remove(filter.as_str());
            if existed { UnsubackReasonCode::Success } else { UnsubackReasonCode::NoSubscriptionExisted }
        });
        let unsuback = v5::Unsuback::builder().packet_id(wish.packet_id()).reason_codes(codes.collect());
        session.tell(conn, unsuback.build()?)
    }
}

impl Handler for Broker {
    type Protocol = MqttPackets;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        self.sessions.insert(conn.id(), Session::new(self.rules.packet_bytes_max));
    }

    fn received(&mut self, conn: &mut Conn<'_>, packet: &[u8]) {
        if let Err(why) = self.serve(conn, packet) {
            self.sessions[conn.id()].part(conn, why);
        }
    }

    /// The client id is this connection's now: whoever had it has been told that its session was taken over.
    fn claimed(&mut self, conn: &mut Conn<'_>, _epoch: u64) {
        let session = &mut self.sessions[conn.id()];
        let Some(hello) = session.hello.take() else { return };
        if let Err(why) = self.rules.welcome(conn, &hello).and_then(|welcome| session.tell(conn, welcome)) {
            session.part(conn, why);
        }
    }

    fn writable(&mut self, conn: &mut Conn<'_>) {
        self.sessions[conn.id()].send_waiting(conn);
    }

    /// The cause in the words of MQTT, where somebody is left to be told.
    fn closing(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        let why = match closed.cause {
            Cause::HeartbeatMissed | Cause::PeerStuck => Reason::KeepAliveTimeout,
            Cause::Superseded { .. } => Reason::SessionTakenOver,
            Cause::Protocol(_) | Cause::FrameStalled => Reason::MalformedPacket,
            Cause::TooLarge => Reason::PacketTooLarge,
            Cause::SlowConsumer => Reason::QuotaExceeded,
            Cause::Refused(_) => Reason::ServerBusy, // Two clients fight for one id, for example.
            Cause::Draining => Reason::ServerShuttingDown,
            Cause::PeerClosed | Cause::PeerReset | Cause::PathDead(_) | Cause::Os(_) => return,
            Cause::HelloMissed | Cause::Local => return,
        };
        self.sessions[conn.id()].part(conn, why);
    }

    fn closed(&mut self, conn: &mut Conn<'_>, _closed: &Closed) {
        let Some(session) = self.sessions.remove(conn.id()) else { return };
        session.filters.iter().for_each(|filter| self.topics.unsubscribe(filter, conn.id()));
        // Who was not let in has no will either.
        if let Some(will) = session.will.filter(|_| session.hello.is_none()) {
            self.route(&mut conn.conns(), &will, None);
            let _ = conn.conns().post_to_others(&will.to_continuous_buffer().into());
        }
    }

    fn message(&mut self, conns: &mut Conns<'_>, letter: Bytes) {
        if let PacketBuildResult::Complete(packet) = PacketBuilder::new().feed(&mut Cursor::new(&letter))
            && let PacketData::Publish(body) = &packet.data
            && let Ok((message, _)) = v5::Publish::parse(packet.flags(), body.clone())
        {
            self.route(conns, &message, None);
        }
    }
}
