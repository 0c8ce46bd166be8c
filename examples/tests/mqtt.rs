//! The MQTT gateway, driven by the clients of mosquitto and paho, and by raw sockets where those would not misbehave, on both
//! backends and with two shards.

mod common;

#[path = "mqtt/client.rs"]
mod client;
#[path = "mqtt/crowd.rs"]
mod crowd;
#[path = "mqtt/identities.rs"]
mod identities;
#[path = "mqtt/keep_alive.rs"]
mod keep_alive;
#[path = "mqtt/messages.rs"]
mod messages;
#[path = "mqtt/packets.rs"]
mod packets;
#[path = "mqtt/wills.rs"]
mod wills;
#[path = "mqtt/wire.rs"]
mod wire;
#[path = "mqtt/wishes.rs"]
mod wishes;
