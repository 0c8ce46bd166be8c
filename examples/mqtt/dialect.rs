//! MQTT 3.1.1 as a dialect of 5.0. The rest of the gateway speaks 5.0 only.

use mqtt_protocol_core::mqtt::packet::{Packet, v3_1_1 as v3, v5_0 as v5};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode as New, ConnectReturnCode as Old};
use mqtt_protocol_core::mqtt::result_code::{MqttError, SubackReturnCode};

/// What a client says.
pub(crate) fn heard(packet: Packet) -> Result<Packet, MqttError> {
    Ok(match packet {
        Packet::V3_1_1Connect(old) => connect(&old)?.into(),
        Packet::V3_1_1Publish(old) => {
            let new = v5::Publish::builder().topic_name(old.topic_name())?.qos(old.qos());
            new.retain(old.retain()).packet_id(old.packet_id()).payload(old.payload().clone()).build()?.into()
        }
        Packet::V3_1_1Puback(old) => v5::Puback::builder().packet_id(old.packet_id()).build()?.into(),
        Packet::V3_1_1Subscribe(old) => {
            let new = v5::Subscribe::builder().packet_id(old.packet_id());
            new.entries(old.entries().clone()).build()?.into()
        }
        Packet::V3_1_1Unsubscribe(old) => {
            let new = v5::Unsubscribe::builder().packet_id(old.packet_id());
            new.entries(old.entries().clone())?.build()?.into()
        }
        Packet::V3_1_1Disconnect(_) => v5::Disconnect::builder().build()?.into(),
        new => new,
    })
}

fn connect(old: &v3::Connect) -> Result<v5::Connect, MqttError> {
    // Section 3.1.3.1: who wants to find its session again must have a name.
    if old.client_id().is_empty() && !old.clean_session() {
        return Err(MqttError::ClientIdentifierNotValid);
    }
    let mut new = v5::Connect::builder().client_id(old.client_id())?.clean_start(old.clean_session());
    if let Some((topic, payload)) = old.will_topic().zip(old.will_payload()) {
        new = new.will_message(topic, payload.to_vec(), old.will_qos(), old.will_retain())?;
    }
    if let Some(user) = old.user_name() {
        new = new.user_name(user)?.password(old.password().unwrap_or_default().to_vec())?;
    }
    new.keep_alive(old.keep_alive()).build()
}

/// What a client is told. There are no words for DISCONNECT: a server of 3.1.1 that gives up just closes.
pub(crate) fn told(packet: Packet) -> Result<Packet, MqttError> {
    Ok(match packet {
        Packet::V5_0Connack(new) => {
            let code = match new.reason_code() {
                New::Success => Old::Accepted,
                New::ClientIdentifierNotValid => Old::IdentifierRejected,
                New::BadUserNameOrPassword => Old::BadUserNameOrPassword,
                New::ServerBusy => Old::ServerUnavailable,
                _ => Old::NotAuthorized,
            };
            v3::Connack::builder().session_present(false).return_code(code).build()?.into()
        }
        Packet::V5_0Publish(new) => {
            let old = v3::Publish::builder().topic_name(new.topic_name())?.qos(new.qos());
            old.retain(new.retain()).packet_id(new.packet_id()).payload(new.payload().clone()).build()?.into()
        }
        Packet::V5_0Puback(new) => v3::Puback::builder().packet_id(new.packet_id()).build()?.into(),
        Packet::V5_0Suback(new) => {
            let code = |new| SubackReturnCode::try_from(new as u8).unwrap_or(SubackReturnCode::Failure);
            let codes = new.reason_codes().into_iter().map(code).collect();
            v3::Suback::builder().packet_id(new.packet_id()).return_codes(codes).build()?.into()
        }
        Packet::V5_0Unsuback(new) => v3::Unsuback::builder().packet_id(new.packet_id()).build()?.into(),
        _ => return Err(MqttError::PacketConversionFailed),
    })
}
