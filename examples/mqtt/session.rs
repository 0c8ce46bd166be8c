//! One client, in both versions of the protocol: what it says, and packets for it. The codec keeps packet ids, acknowledges,
//! and knows what is allowed when; this file makes one vocabulary out of its two versions.

use std::ops::RangeInclusive;
use std::time::Duration;

use heartring::Bytes;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{Event, role};
use mqtt_protocol_core::mqtt::packet::{
    self as packets, GenericPacketTrait, Packet, Property, Qos, SubEntry,
};
use mqtt_protocol_core::mqtt::packet::{v3_1_1 as v3, v5_0 as v5};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, MqttError, SubackReasonCode, SubackReturnCode, UnsubackReasonCode,
};
use mqtt_protocol_core::mqtt::{Connection, Version};

use crate::message::Message;

/// A client that is connected, or about to be.
pub(crate) struct Session {
    codec: Connection<role::Server>,
    /// What it has said of itself, until it is let in.
    pub(crate) hello: Option<Hello>,
    /// What is published when it ends otherwise than by DISCONNECT.
    pub(crate) will: Option<Will>,
    /// What it listens to.
    pub(crate) filters: Vec<String>,
}

/// What CONNECT says.
pub(crate) struct Hello {
    pub(crate) client_id: String,
    /// The server has chosen the id.
    is_assigned: bool,
    pub(crate) login: Option<(String, Vec<u8>)>,
    keep_alive: u16,
}

/// A last will.
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) at_least_once: bool,
    pub(crate) retain: bool,
}

/// What a client says, in whichever version.
pub(crate) enum Said {
    Connect,
    Publish {
        topic: String,
        payload: Bytes,
        qos: Qos,
        retain: bool,
    },
    Subscribe {
        id: u16,
        entries: Vec<SubEntry>,
    },
    Unsubscribe {
        id: u16,
        filters: Vec<String>,
    },
    /// Goodbye; in 5.0 perhaps with the wish to have the will published all the same.
    Disconnect {
        with_will: bool,
    },
    /// The codec has dealt with it.
    Other,
}

/// One and a half keep-alives (MQTT 5.0, section 3.1.2.10).
pub(crate) fn dead_within(keep_alive: u16) -> Duration {
    Duration::from_secs(keep_alive.into()) * 3 / 2
}

impl Session {
    pub(crate) fn new() -> Self {
        let mut codec = Connection::new(Version::Undetermined);
        codec.set_auto_pub_response(true);
        Self { codec, hello: None, will: None, filters: Vec::new() }
    }

    pub(crate) fn is_v5(&self) -> bool {
        self.codec.get_protocol_version() == Version::V5_0
    }

    /// Takes in one packet; what the codec answers goes to `answers`.
    pub(crate) fn receive(&mut self, packet: &[u8], answers: &mut Vec<Bytes>) -> Result<Said, MqttError> {
        let events = self.codec.recv(&mut Cursor::new(packet));
        let (mut said, mut wrong) = (Said::Other, None);
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => said = self.read(packet),
                Event::RequestSendPacket { packet, .. } => answers.push(packet.to_continuous_buffer().into()),
                Event::NotifyError(error) => wrong = Some(error),
                // Deadlines are heartring's, and a close follows from what was said or went wrong.
                Event::NotifyPacketIdReleased(_)
                | Event::RequestTimerReset { .. }
                | Event::RequestTimerCancel(_)
                | Event::RequestClose => {}
            }
        }
        wrong.map_or(Ok(said), Err)
    }

    fn read(&mut self, packet: Packet) -> Said {
        match packet {
            Packet::V3_1_1Connect(connect) => {
                let will = connect.will_topic().zip(connect.will_payload());
                self.will = will
                    .map(|(topic, text)| Will::new(topic, text, connect.will_qos(), connect.will_retain()));
                let (user, password) = (connect.user_name(), connect.password());
                self.hello = Some(Hello::new(connect.client_id(), user, password, connect.keep_alive()));
                Said::Connect
            }
            Packet::V5_0Connect(connect) => {
                let will = connect.will_topic().zip(connect.will_payload());
                self.will = will
                    .map(|(topic, text)| Will::new(topic, text, connect.will_qos(), connect.will_retain()));
                let (user, password) = (connect.user_name(), connect.password());
                self.hello = Some(Hello::new(connect.client_id(), user, password, connect.keep_alive()));
                Said::Connect
            }
            Packet::V3_1_1Publish(publish) => Said::Publish {
                topic: publish.topic_name().to_owned(),
                payload: Bytes::copy_from_slice(publish.payload().as_slice()),
                qos: publish.qos(),
                retain: publish.retain(),
            },
            Packet::V5_0Publish(publish) => Said::Publish {
                topic: publish.topic_name().to_owned(),
                payload: Bytes::copy_from_slice(publish.payload().as_slice()),
                qos: publish.qos(),
                retain: publish.retain(),
            },
            Packet::V3_1_1Subscribe(subscribe) => {
                Said::Subscribe { id: subscribe.packet_id(), entries: subscribe.entries().to_vec() }
            }
            Packet::V5_0Subscribe(subscribe) => {
                Said::Subscribe { id: subscribe.packet_id(), entries: subscribe.entries().to_vec() }
            }
            Packet::V3_1_1Unsubscribe(unsubscribe) => {
                let filters = unsubscribe.entries().iter().map(|filter| filter.as_str().to_owned()).collect();
                Said::Unsubscribe { id: unsubscribe.packet_id(), filters }
            }
            Packet::V5_0Unsubscribe(unsubscribe) => {
                let filters = unsubscribe.entries().iter().map(|filter| filter.as_str().to_owned()).collect();
                Said::Unsubscribe { id: unsubscribe.packet_id(), filters }
            }
            Packet::V3_1_1Disconnect(_) => Said::Disconnect { with_will: false },
            Packet::V5_0Disconnect(disconnect) => {
                let reason = disconnect.reason_code().map_or(0, |reason| reason as u8);
                Said::Disconnect { with_will: reason != 0 }
            }
            _ => Said::Other,
        }
    }

    /// Lets the client in. `granted` is the keep-alive that holds, whatever it asked for.
    pub(crate) fn accept(&mut self, granted: u16, packet_bytes_max: u32) -> Vec<Bytes> {
        let Some(hello) = self.hello.take() else { return Vec::new() };
        if !self.is_v5() {
            let accepted =
                v3::Connack::builder().session_present(false).return_code(ConnectReturnCode::Accepted);
            return self.send(accepted.build());
        }
        let mut properties = vec![
            packets::MaximumQos::new(1).map(Property::MaximumQos),
            packets::MaximumPacketSize::new(packet_bytes_max).map(Property::MaximumPacketSize),
            packets::SessionExpiryInterval::new(0).map(Property::SessionExpiryInterval),
            packets::SharedSubscriptionAvailable::new(0).map(Property::SharedSubscriptionAvailable),
            packets::SubscriptionIdentifierAvailable::new(0).map(Property::SubscriptionIdentifierAvailable),
        ];
        if granted != hello.keep_alive {
            properties.push(packets::ServerKeepAlive::new(granted).map(Property::ServerKeepAlive));
        }
        if hello.is_assigned {
            let id = packets::AssignedClientIdentifier::new(&*hello.client_id);
            properties.push(id.map(Property::AssignedClientIdentifier));
        }
        let properties: Result<Vec<Property>, MqttError> = properties.into_iter().collect();
        let builder = v5::Connack::builder().session_present(false).reason_code(ConnectReasonCode::Success);
        self.send(properties.and_then(|properties| builder.props(properties).build()))
    }

    /// Refuses a client that is not let in.
    pub(crate) fn refuse(&mut self, reason: ConnectReasonCode, return_code: ConnectReturnCode) -> Vec<Bytes> {
        if self.is_v5() {
            self.send(v5::Connack::builder().session_present(false).reason_code(reason).build())
        } else {
            self.send(v3::Connack::builder().session_present(false).return_code(return_code).build())
        }
    }

    /// Says with which QoS each filter of a SUBSCRIBE is granted, or why not.
    pub(crate) fn subscribed(&mut self, id: u16, granted: &[Result<Qos, SubackReasonCode>]) -> Vec<Bytes> {
        if self.is_v5() {
            let code = |granted: &Result<Qos, SubackReasonCode>| match granted {
                Ok(Qos::AtMostOnce) => SubackReasonCode::GrantedQos0,
                Ok(Qos::AtLeastOnce | Qos::ExactlyOnce) => SubackReasonCode::GrantedQos1,
                Err(reason) => *reason,
            };
            let codes = granted.iter().map(code).collect();
            return self.send(v5::Suback::builder().packet_id(id).reason_codes(codes).build());
        }
        let code = |granted: &Result<Qos, SubackReasonCode>| match granted {
            Ok(Qos::AtMostOnce) => SubackReturnCode::SuccessMaximumQos0,
            Ok(Qos::AtLeastOnce | Qos::ExactlyOnce) => SubackReturnCode::SuccessMaximumQos1,
            Err(_) => SubackReturnCode::Failure,
        };
        let codes = granted.iter().map(code).collect();
        self.send(v3::Suback::builder().packet_id(id).return_codes(codes).build())
    }

    /// Says which filters of an UNSUBSCRIBE there were.
    pub(crate) fn unsubscribed(&mut self, id: u16, existed: &[bool]) -> Vec<Bytes> {
        if !self.is_v5() {
            return self.send(v3::Unsuback::builder().packet_id(id).build());
        }
        let code = |existed: &bool| {
            if *existed { UnsubackReasonCode::Success } else { UnsubackReasonCode::NoSubscriptionExisted }
        };
        let codes = existed.iter().map(code).collect();
        self.send(v5::Unsuback::builder().packet_id(id).reason_codes(codes).build())
    }

    /// A message with QoS 1, under a packet id of this client; nothing if it has too many unacknowledged.
    pub(crate) fn publish_once_or_more(&mut self, message: &Message, retain: bool) -> Option<Vec<Bytes>> {
        let id = self.codec.acquire_packet_id().ok()?;
        let (topic, payload) = (&*message.topic, message.payload.to_vec());
        let sent = if self.is_v5() {
            let publish = v5::Publish::builder().topic_name(topic).ok()?.qos(Qos::AtLeastOnce);
            self.send(publish.retain(retain).packet_id(id).payload(payload).build())
        } else {
            let publish = v3::Publish::builder().topic_name(topic).ok()?.qos(Qos::AtLeastOnce);
            self.send(publish.retain(retain).packet_id(id).payload(payload).build())
        };
        (!sent.is_empty()).then_some(sent)
    }

    /// Has the codec check a packet and take note of it.
    fn send<P: Into<Packet>>(&mut self, packet: Result<P, MqttError>) -> Vec<Bytes> {
        let Ok(packet) = packet else { return Vec::new() };
        let packets = self.codec.send(packet.into()).into_iter().filter_map(|event| match event {
            Event::RequestSendPacket { packet, .. } => Some(packet.to_continuous_buffer().into()),
            Event::NotifyPacketReceived(_)
            | Event::NotifyPacketIdReleased(_)
            | Event::RequestTimerReset { .. }
            | Event::RequestTimerCancel(_)
            | Event::NotifyError(_)
            | Event::RequestClose => None,
        });
        packets.collect()
    }
}

/// A message with QoS 0: the same bytes for every client of one version.
pub(crate) fn publish_once_at_most(message: &Message, is_v5: bool, retain: bool) -> Option<Bytes> {
    let (topic, payload) = (&*message.topic, message.payload.to_vec());
    let bytes = if is_v5 {
        let publish = v5::Publish::builder().topic_name(topic).ok()?.retain(retain).payload(payload);
        publish.build().ok()?.to_continuous_buffer()
    } else {
        let publish = v3::Publish::builder().topic_name(topic).ok()?.retain(retain).payload(payload);
        publish.build().ok()?.to_continuous_buffer()
    };
    Some(bytes.into())
}

impl Hello {
    fn new(client_id: &str, user: Option<&str>, password: Option<&[u8]>, keep_alive: u16) -> Self {
        let login = user.map(|user| (user.to_owned(), password.unwrap_or_default().to_vec()));
        Self { client_id: client_id.to_owned(), is_assigned: false, login, keep_alive }
    }

    /// Gives a name to a client that has none.
    pub(crate) fn assign(&mut self, client_id: String) {
        (self.client_id, self.is_assigned) = (client_id, true);
    }

    /// The keep-alive that it gets: what it asked for, within bounds; the longest if it asked for none.
    pub(crate) fn keep_alive(&self, bounds: &RangeInclusive<u16>) -> u16 {
        let asked = if self.keep_alive == 0 { u16::MAX } else { self.keep_alive };
        asked.clamp(*bounds.start(), *bounds.end())
    }
}

impl Will {
    fn new(topic: &str, payload: &[u8], qos: Qos, retain: bool) -> Self {
        let at_least_once = qos != Qos::AtMostOnce;
        Self { topic: topic.to_owned(), payload: Bytes::copy_from_slice(payload), at_least_once, retain }
    }
}
