//! One client: what it says, and what it is told. The codec keeps packet ids and knows what is allowed when.

use std::collections::{BTreeSet, VecDeque};

use heartring::Conn;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{Connection, ConnectionOptions, Event, Version, role};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, Property, Qos, v5_0 as v5};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, MqttError as Reason};

use crate::dialect;

/// Messages that wait for one client's acknowledgements.
const WAITING_MAX: usize = 1000;

/// A client that is connected, or about to be.
pub(crate) struct Session {
    codec: Connection<role::Server>,
    /// Its CONNECT, until it is let in.
    pub(crate) hello: Option<v5::Connect>,
    /// What is published when it ends otherwise than by DISCONNECT.
    pub(crate) will: Option<v5::Publish>,
    /// What it listens to.
    pub(crate) filters: BTreeSet<String>,
    /// What it gets with QoS 1, and whether as retained, once it has taken and acknowledged what it has.
    waiting: VecDeque<(v5::Publish, bool)>,
}

impl Session {
    pub(crate) fn new(packet_bytes_max: u32) -> Self {
        let options = ConnectionOptions::new().maximum_packet_size_recv(packet_bytes_max);
        let codec = Connection::with_options(Version::Undetermined, options);
        Self { codec, hello: None, will: None, filters: BTreeSet::new(), waiting: VecDeque::new() }
    }

    /// Reads one packet.
    pub(crate) fn hear(&mut self, conn: &mut Conn<'_>, packet: &[u8]) -> Result<Packet, Reason> {
        let events = self.codec.recv(&mut Cursor::new(packet));
        dialect::heard(obey(conn, events)?.ok_or(Reason::ProtocolError)?)
    }

    /// Sends a packet. The codec refuses what may not be said now, and what is larger than the client takes.
    pub(crate) fn tell(&mut self, conn: &mut Conn<'_>, packet: impl Into<Packet>) -> Result<(), Reason> {
        let is_v5 = self.codec.get_protocol_version() == Version::V5_0;
        let packet = if is_v5 { packet.into() } else { dialect::told(packet.into())? };
        obey(conn, self.codec.send(packet)).map(|_| ())
    }

    /// Says why, if there is a way to say it, and closes.
    pub(crate) fn part(&mut self, conn: &mut Conn<'_>, why: Reason) {
        // CONNACK until the client is let in, DISCONNECT afterwards: the codec lets only the one pass that is due.
        let code = ConnectReasonCode::try_from(why as u8).unwrap_or(ConnectReasonCode::UnspecifiedError);
        let refusal = v5::Connack::builder().session_present(false).reason_code(code).build();
        let _ = refusal.and_then(|packet| self.tell(conn, packet));
        let goodbye = v5::Disconnect::builder().reason_code(why.into()).build();
        let _ = goodbye.and_then(|packet| self.tell(conn, packet));
        conn.close();
    }

    /// Gives the client a message that it listens to.
    pub(crate) fn deliver(&mut self, conn: &mut Conn<'_>, message: &v5::Publish, granted: Qos, retain: bool) {
        if message.qos().min(granted) == Qos::AtMostOnce {
            // Who does not take it, misses it.
            let _ = copy(message, retain, None).and_then(|copy| self.tell(conn, copy));
        } else if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((message.clone(), retain));
            self.send_waiting(conn);
        } else {
            self.part(conn, Reason::QuotaExceeded);
        }
    }

    /// Sends what the client's acknowledgements and the queue of its connection allow.
    pub(crate) fn send_waiting(&mut self, conn: &mut Conn<'_>) {
        while !conn.is_congested()
            && self.codec.get_receive_maximum_vacancy_for_send() != Some(0)
            && let Some((message, retain)) = self.waiting.front()
            && let Ok(id) = self.codec.acquire_packet_id()
        {
            let packet = copy(message, *retain, Some(id));
            self.waiting.pop_front();
            match packet.and_then(|packet| self.tell(conn, packet)) {
                Ok(()) => {}
                // It counts as delivered (5.0, section 3.1.2.11.4).
                Err(Reason::PacketTooLarge) => drop(self.codec.release_packet_id(id)),
                Err(why) => return self.part(conn, why),
            }
        }
    }
}

/// Does what the codec asks for, and returns what the client has said. Time is heartring's affair, and who gives up closes.
fn obey(conn: &mut Conn<'_>, events: Vec<Event>) -> Result<Option<Packet>, Reason> {
    let mut said = Ok(None);
    for event in events {
        match event {
            Event::NotifyPacketReceived(packet) => said = Ok(Some(packet)),
            Event::NotifyError(why) => said = Err(why),
            Event::RequestSendPacket { packet, .. } => {
                conn.send(packet.to_continuous_buffer().into()).map_err(|_| Reason::QuotaExceeded)?;
            }
            Event::RequestTimerReset { .. } | Event::RequestTimerCancel(_) => {}
            Event::RequestClose | Event::NotifyPacketIdReleased(_) => {}
        }
    }
    said
}

/// A message for one listener: with QoS 1 under an id of its own, or with QoS 0.
fn copy(message: &v5::Publish, retain: bool, id: Option<u16>) -> Result<v5::Publish, Reason> {
    let qos = if id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce };
    let copy = v5::Publish::builder().topic_name(message.topic_name())?.qos(qos).retain(retain).packet_id(id);
    copy.props(message.props().clone()).payload(message.payload().clone()).build()
}

/// What is published when a client dies.
pub(crate) fn will(hello: &v5::Connect) -> Result<Option<v5::Publish>, Reason> {
    let Some((topic, payload)) = hello.will_topic().zip(hello.will_payload()) else { return Ok(None) };
    let id = (hello.will_qos() != Qos::AtMostOnce).then_some(1); // Nobody acknowledges it.
    let will = v5::Publish::builder().topic_name(topic)?.qos(hello.will_qos()).packet_id(id);
    let mut props = hello.will_props().clone();
    // A delay ends with the session, which ends with the connection.
    props.retain(|property| !matches!(property, Property::WillDelayInterval(_)));
    will.retain(hello.will_retain()).props(props).payload(payload).build().map(Some)
}
