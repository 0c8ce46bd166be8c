//! A message on its way from a publisher to whoever listens, on all shards.

use heartring::{Bytes, ConnAt, ConnId, ShardId};
use mqtt_protocol_core::mqtt::packet::Qos;

/// A message. Between shards it is bytes: where it comes from, flags, the topic's length, the topic, the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Who published it.
    pub(crate) from: ConnAt,
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) at_least_once: bool,
    pub(crate) retain: bool,
}

const FIXED_BYTES: usize = 2 + 4 + 4 + 1 + 2;

impl Message {
    /// With which QoS it goes to somebody who is granted `granted`.
    pub(crate) fn qos(&self, granted: Qos) -> Qos {
        if self.at_least_once && granted != Qos::AtMostOnce { Qos::AtLeastOnce } else { Qos::AtMostOnce }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let flags = u8::from(self.at_least_once) | u8::from(self.retain) << 1;
        let mut bytes = Vec::with_capacity(FIXED_BYTES + self.topic.len() + self.payload.len());
        bytes.extend(self.from.shard.0.to_be_bytes());
        bytes.extend(self.from.conn.slot().to_be_bytes());
        bytes.extend(self.from.conn.generation().to_be_bytes());
        bytes.push(flags);
        bytes.extend((self.topic.len() as u16).to_be_bytes());
        bytes.extend_from_slice(self.topic.as_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes.into()
    }

    /// Reads what [`Message::encode`] has written; the payload stays where it is.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let (shard, rest) = bytes.split_first_chunk()?;
        let (slot, rest) = rest.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        let (&[flags, high, low], rest) = rest.split_first_chunk()?;
        let topic_bytes = usize::from(u16::from_be_bytes([high, low]));
        let topic = std::str::from_utf8(rest.get(..topic_bytes)?).ok()?.to_owned();
        let conn = ConnId::new(u32::from_be_bytes(*slot), u32::from_be_bytes(*generation));
        Some(Self {
            from: ConnAt { shard: ShardId(u16::from_be_bytes(*shard)), conn },
            topic,
            payload: bytes.slice(FIXED_BYTES + topic_bytes..),
            at_least_once: flags & 1 != 0,
            retain: flags & 2 != 0,
        })
    }
}
