//! Why a connection ends, in the words of MQTT 5.0. In 3.1.1 a server that gives up just closes.

use heartring::{Bytes, Cause};
use mqtt_protocol_core::mqtt::packet::v5_0::Disconnect;
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode as Reason, MqttError};

/// The reason for a cause of heartring's; none where nobody is left to be told.
pub(crate) fn of_cause(cause: &Cause) -> Option<Reason> {
    match cause {
        Cause::HeartbeatMissed | Cause::PeerStuck => Some(Reason::KeepAliveTimeout),
        Cause::Superseded { .. } => Some(Reason::SessionTakenOver),
        Cause::Protocol(_) | Cause::FrameStalled => Some(Reason::MalformedPacket),
        Cause::TooLarge => Some(Reason::PacketTooLarge),
        Cause::SlowConsumer => Some(Reason::QuotaExceeded),
        Cause::Refused(_) => Some(Reason::ServerBusy),
        Cause::Draining => Some(Reason::ServerShuttingDown),
        // The broker has given its reason before it closed.
        Cause::Local => None,
        Cause::PeerClosed | Cause::PeerReset | Cause::HelloMissed | Cause::PathDead(_) | Cause::Os(_) => None,
    }
}

/// The reason for what the codec has found wrong.
pub(crate) fn of_error(error: MqttError) -> Reason {
    u8::try_from(error as u16)
        .ok()
        .and_then(|code| Reason::try_from(code).ok())
        .unwrap_or(Reason::ProtocolError)
}

/// DISCONNECT, with a reason.
pub(crate) fn disconnect(reason: Reason) -> Option<Bytes> {
    let packet = Disconnect::builder().reason_code(reason).build().ok()?;
    Some(packet.to_continuous_buffer().into())
}
