//! What a client of 5.0 may wish for.

use crate::client::{mosquitto_pub, mosquitto_pub_lines, on_each_backend};
use crate::wire::{PINGREQ, PINGRESP, Raw, connect, connect_v5, packet, text};

/// SUBSCRIBE with the options of 5.0: the lowest bits are the QoS.
fn subscribe(filter: &str, options: u8) -> Vec<u8> {
    packet(0x82, &[b"\0\x01\0", &text(filter), &[options]])
}

const SUBACK_QOS_0: &[u8] = b"\x90\x04\0\x01\0\0";
const SUBACK_QOS_1: &[u8] = b"\x90\x04\0\x01\0\x01";

/// PUBLISH without a packet id. Bit 0: retained.
fn publish(retain: u8, topic: &str, payload: &str) -> Vec<u8> {
    packet(0x30 | retain, &[&text(topic), b"\0", payload.as_bytes()])
}

#[test]
fn a_client_has_no_more_unacknowledged_than_it_takes() {
    on_each_backend("a_client_has_no_more_unacknowledged_than_it_takes", &[], |server| {
        let receive_maximum = b"\x21\0\x02";
        let (mut raw, _) = Raw::let_in(server.addr(), &connect_v5("two", receive_maximum));
        raw.say(&subscribe("a", 1));
        raw.hear(SUBACK_QOS_1);
        let lines: Vec<String> = (0..500).map(|nth| format!("{nth:03}")).collect();
        mosquitto_pub_lines(server, &["-q", "1", "-t", "a"], &lines);
        let mut ids = Vec::new();
        for (nth, line) in lines.iter().enumerate() {
            let [0x32, 9, 0, 1, b'a', high, low, 0, payload @ ..]: [u8; 11] = raw.read() else {
                panic!("PUBLISH with QoS 1 is expected");
            };
            assert_eq!(payload, line.as_bytes());
            ids.push([high, low]);
            if nth == 1 {
                // The third waits.
                raw.say(PINGREQ);
                raw.hear(PINGRESP);
            }
            if nth > 0 {
                raw.say(&packet(0x40, &[&ids[nth - 1]]));
            }
        }
    });
}

#[test]
fn a_client_gets_no_packet_larger_than_it_takes() {
    on_each_backend("a_client_gets_no_packet_larger_than_it_takes", &[], |server| {
        let maximum_packet_size = b"\x27\0\0\0\x20";
        let (mut raw, _) = Raw::let_in(server.addr(), &connect_v5("small", maximum_packet_size));
        raw.say(&subscribe("#", 1));
        raw.hear(SUBACK_QOS_1);
        let large = "x".repeat(100);
        for qos in ["0", "1"] {
            mosquitto_pub(server, &["-q", qos, "-t", "a", "-m", &large]);
        }
        mosquitto_pub(server, &["-q", "0", "-t", "a", "-m", "small"]);
        raw.hear(&publish(0, "a", "small"));
    });
}

#[test]
fn the_options_of_a_subscription_are_kept() {
    on_each_backend("the_options_of_a_subscription_are_kept", &[], |server| {
        let (mut raw, _) = Raw::let_in(server.addr(), &connect(5, "picky", 60));
        let no_local = subscribe("mine", 0x04);
        let retain_as_published = subscribe("as/it/is", 0x08);
        let plain = subscribe("plain", 0);
        for wish in [no_local, retain_as_published, plain] {
            raw.say(&wish);
            raw.hear(SUBACK_QOS_0);
        }
        for topic in ["mine", "as/it/is", "plain"] {
            raw.say(&publish(1, topic, "1"));
        }
        raw.hear(&publish(1, "as/it/is", "1"));
        raw.hear(&publish(0, "plain", "1"));

        // Retained messages: always, for a new subscription, never.
        let (always, if_new, never) = (0x00, 0x10, 0x20);
        for (filter, handling, comes) in
            [("plain", always, true), ("plain", if_new, false), ("mine", never, false), ("+", if_new, true)]
        {
            raw.say(&subscribe(filter, handling));
            if comes {
                let topics: &[&str] = if filter == "+" { &["mine", "plain"] } else { &[filter] };
                for topic in topics {
                    raw.hear(&publish(1, topic, "1"));
                }
            }
            raw.hear(SUBACK_QOS_0);
        }
    });
}
