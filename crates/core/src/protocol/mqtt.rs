//! Packets of MQTT, 3.1.1 and 5.0 alike.

use bytes::Bytes;

use super::{Decoded, FrameKind, Protocol};

/// Packets of MQTT; the frame is the packet as it was sent, for a codec to read. PINGREQ is a ping and answered; the first
/// packet must be CONNECT.
///
/// It checks what both versions say of the fixed header (MQTT 5.0, section 2.1). What is in a packet, and whether it is
/// allowed at this point, is the codec's affair.
#[derive(Clone, Copy, Debug, Default)]
pub struct MqttPackets;

const CONNECT: u8 = 0x10;
const PINGREQ: [u8; 2] = [0xC0, 0];
const PINGRESP: [u8; 2] = [0xD0, 0];

/// A length takes at most this many bytes, which makes it at most 256 MiB (section 1.5.5).
const LENGTH_BYTES_MAX: usize = 4;

impl Protocol for MqttPackets {
    /// Whether CONNECT has come.
    type State = bool;

    fn decode<'a>(&self, connected: &'a mut bool, input: &'a [u8], _seen: usize) -> Decoded<'a> {
        let Some((&header, rest)) = input.split_first() else { return Decoded::Partial { needed: 2 } };
        if header >> 4 == 0 || !has_its_flags(header) {
            return Decoded::Invalid("a packet of no known type, or with reserved flags");
        }
        if !*connected && header != CONNECT {
            return Decoded::Invalid("the first packet is not CONNECT");
        }
        // Seven bits a byte, the lowest first; the last byte has the highest bit clear.
        let Some(last) = rest.iter().take(LENGTH_BYTES_MAX).position(|digit| digit & 0x80 == 0) else {
            return if rest.len() < LENGTH_BYTES_MAX {
                Decoded::Partial { needed: input.len() + 1 }
            } else {
                Decoded::Invalid("a length without an end")
            };
        };
        let length = rest[..=last].iter().rev().fold(0, |sum, digit| sum << 7 | usize::from(digit & 0x7F));
        let used = 1 + last + 1 + length;
        let Some(payload) = input.get(..used) else { return Decoded::Partial { needed: used } };
        *connected = true;
        let kind = if payload == PINGREQ { FrameKind::Ping } else { FrameKind::Data };
        Decoded::Frame { kind, payload, used }
    }

    fn pong(&self, _ping: &[u8]) -> Option<Bytes> {
        Some(Bytes::from_static(&PINGRESP))
    }
}

/// Whether the low half of the first byte is what its type demands (section 2.1.3).
const fn has_its_flags(header: u8) -> bool {
    match (header >> 4, header & 0x0F) {
        // PUBLISH: duplicate, quality of service (0 to 2), retain.
        (3, flags) => flags & 0b0110 != 0b0110,
        // PUBREL, SUBSCRIBE, UNSUBSCRIBE.
        (6 | 8 | 10, flags) => flags == 0b0010,
        (_, flags) => flags == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_found_when_it_is_complete_and_not_before() {
        let publish = b"\x30\x05\x00\x01ahi";
        assert_eq!(MqttPackets.decode(&mut true, b"", 0), Decoded::Partial { needed: 2 });
        assert_eq!(MqttPackets.decode(&mut true, &publish[..1], 0), Decoded::Partial { needed: 2 });
        assert_eq!(MqttPackets.decode(&mut true, &publish[..4], 0), Decoded::Partial { needed: 7 });
        assert_eq!(
            MqttPackets.decode(&mut true, publish, 0),
            Decoded::Frame { kind: FrameKind::Data, payload: publish, used: 7 }
        );
    }

    #[test]
    fn a_length_has_up_to_four_bytes_of_seven_bits() {
        assert_eq!(MqttPackets.decode(&mut true, b"\x30\x80\x01", 0), Decoded::Partial { needed: 3 + 128 });
        assert_eq!(
            MqttPackets.decode(&mut true, b"\x30\xFF\xFF\xFF\x7F", 0),
            Decoded::Partial { needed: 5 + 268_435_455 }
        );
        assert_eq!(MqttPackets.decode(&mut true, b"\x30\xFF\xFF\xFF", 0), Decoded::Partial { needed: 5 });
        assert_eq!(
            MqttPackets.decode(&mut true, b"\x30\xFF\xFF\xFF\xFF", 0),
            Decoded::Invalid("a length without an end")
        );
    }

    #[test]
    fn a_ping_is_answered_by_the_protocol() {
        assert_eq!(
            MqttPackets.decode(&mut true, &PINGREQ, 0),
            Decoded::Frame { kind: FrameKind::Ping, payload: &PINGREQ, used: 2 }
        );
        assert_eq!(MqttPackets.pong(&PINGREQ), Some(Bytes::from_static(&PINGRESP)));
    }

    #[test]
    fn nothing_comes_before_connect() {
        let mut connected = false;
        let refused = Decoded::Invalid("the first packet is not CONNECT");
        assert_eq!(MqttPackets.decode(&mut connected, &PINGREQ, 0), refused);
        assert_eq!(MqttPackets.decode(&mut connected, b"\x10\x02a", 0), Decoded::Partial { needed: 4 });
        assert_eq!(MqttPackets.decode(&mut connected, &PINGREQ, 0), refused);
        assert!(matches!(MqttPackets.decode(&mut connected, b"\x10\x02ab", 0), Decoded::Frame { .. }));
        assert!(connected);
    }

    #[test]
    fn each_type_has_its_flags() {
        for good in [0x30, 0x3D, 0x62, 0x82, 0xA2, 0xE0, 0xF0] {
            assert_eq!(
                MqttPackets.decode(&mut true, &[good, 1], 0),
                Decoded::Partial { needed: 3 },
                "{good:#x}"
            );
        }
        for bad in [0x00, 0x36, 0x60, 0x80, 0xC1, 0xE2] {
            assert!(matches!(MqttPackets.decode(&mut true, &[bad, 1], 0), Decoded::Invalid(_)), "{bad:#x}");
        }
    }
}
