//! Packets that no client should send, and what the specification says about them.

use heartring_tests::Dice;

use crate::client::{Client, on_each_backend};
use crate::wire::{PINGREQ, PINGRESP, Raw, connect, connect_with, packet, text};

#[test]
fn a_bad_packet_ends_a_connection_with_the_reason_of_the_specification() {
    on_each_backend("a_bad_packet_ends_a_connection_with_the_reason_of_the_specification", &[], |server| {
        let cases: [(&str, Vec<u8>, u8); 16] = [
            ("a reserved type", b"\x00\x00".into(), 0x81),
            ("reserved flags", packet(0x80, &[b"\0\x01\0", &text("a"), b"\0"]), 0x81),
            ("a length without an end", b"\x30\xFF\xFF\xFF\xFF\x7F".into(), 0x81),
            ("a topic beyond its packet", packet(0x30, &[b"\0\x09a"]), 0x81),
            ("a topic that is not UTF-8", packet(0x30, &[b"\0\x01\xFF\0"]), 0x81),
            ("QoS 3", packet(0x36, &[&text("a"), b"\0\x01\0"]), 0x81),
            ("a second CONNECT", connect(5, "again", 60), 0x82),
            ("AUTH", b"\xF0\x00".into(), 0x82),
            ("CONNACK", b"\x20\x03\0\0\0".into(), 0x82),
            ("SUBSCRIBE to nothing", packet(0x82, &[b"\0\x01\0"]), 0x82),
            ("PUBREL for nothing", packet(0x62, &[b"\0\x01"]), 0x82),
            ("a topic with a wildcard", packet(0x30, &[&text("a/#"), b"\0"]), 0x90),
            ("an alias that was not granted", packet(0x30, &[&text("a"), b"\x03\x23\0\x01"]), 0x94),
            ("a packet of a megabyte", b"\x30\x80\x80\x40".into(), 0x95),
            ("QoS 2", packet(0x34, &[&text("a"), b"\0\x01\0"]), 0x9B),
            ("a subscription identifier", packet(0x82, &[b"\0\x01\x02\x0B\x01", &text("a"), b"\0"]), 0xA1),
        ];
        for (what, bytes, reason) in cases {
            let (mut raw, connack) = Raw::let_in(server.addr(), &connect(5, "bad", 60));
            assert_eq!(connack[1], 0);
            raw.say(&bytes);
            // DISCONNECT with a reason, and with or without an empty list of properties.
            let words = raw.last_words();
            assert!(words.starts_with(&[0xE0]) && words.get(2) == Some(&reason), "{what}: {words:x?}");

            // 3.1.1 just closes. What is bad in 5.0 only, it does not know.
            let (mut raw, _) = Raw::let_in(server.addr(), &connect(4, "bad", 60));
            if reason < 0x94 || reason == 0x95 || reason == 0x9B {
                raw.say(&bytes);
                assert_eq!(raw.last_words(), b"", "{what}");
            }
        }
    });
}

#[test]
fn who_does_not_begin_with_a_good_connect_is_not_let_in() {
    on_each_backend("who_does_not_begin_with_a_good_connect_is_not_let_in", &[], |server| {
        for begin in
            [PINGREQ, &packet(0x30, &[&text("a"), b"x"]), b"GET / HTTP/1.1\r\n\r\n", &connect(3, "a", 1)]
        {
            let mut raw = Raw::connect(server.addr());
            raw.say(begin);
            assert_eq!(raw.last_words(), b"", "{begin:x?}");
        }
        let too_long = "x".repeat(2000);
        let will = |version: u8| {
            let props: &[u8] = if version == 5 { b"\0" } else { b"" };
            [props, &text("a"), &text("x")].concat()
        };
        for (version, reason, bytes) in [
            (4, 2, connect(4, &too_long, 60)),
            (5, 0x85, connect(5, &too_long, 60)),
            (4, 2, connect_with(4, "", 60, 0, b"")),
            (4, 5, connect_with(4, "will with QoS 2", 60, 0x16, &will(4))),
            (5, 0x9B, connect_with(5, "will with QoS 2", 60, 0x16, &will(5))),
        ] {
            let (raw, connack) = Raw::let_in(server.addr(), &bytes);
            assert_eq!(connack[1], reason, "{version}: {connack:x?}");
            assert_eq!(raw.last_words(), b"");
        }
    });
}

#[test]
fn a_bad_filter_is_refused_and_the_others_are_granted() {
    on_each_backend("a_bad_filter_is_refused_and_the_others_are_granted", &[], |server| {
        let deep = "a/".repeat(10_000);
        let filters = ["a/+/b/#", "a", "a/#/b", "a+", "", "$share/g/a", &deep];
        for (version, granted) in
            [(4, [1, 1, 0x80, 0x80, 0x80, 0x80, 0x80]), (5, [1, 1, 0x8F, 0x8F, 0x8F, 0x9E, 0x8F])]
        {
            let props: &[u8] = if version == 5 { b"\0" } else { b"" };
            let entries = filters.map(|filter| [&text(filter)[..], b"\x02"].concat()).concat();
            let (mut raw, _) = Raw::let_in(server.addr(), &connect(version, "a", 60));
            raw.say(&packet(0x82, &[b"\0\x09", props, &entries]));
            raw.hear(&packet(0x90, &[b"\0\x09", props, &granted]));
        }
    });
}

/// Changed, cut and doubled packets: whatever they do to their own connection, the gateway goes on.
#[test]
fn no_bytes_harm_the_gateway() {
    on_each_backend("no_bytes_harm_the_gateway", &[], |server| {
        let mut listener = Client::mosquitto_sub(server, &["-t", "alive"]);
        for seed in 0..2000 {
            let mut dice = Dice::new(seed);
            let version = 4 + (seed % 2) as u8;
            let props: &[u8] = if version == 5 { b"\0" } else { b"" };
            let id = format!("fuzz-{seed}");
            let connect = connect_with(version, &id, 60, 0x0E, &[props, &text("w"), &text("x")].concat());
            let mut stream = [
                connect,
                packet(0x82, &[b"\0\x01", props, &text("a/+"), b"\x01", &text("#"), b"\0"]),
                packet(0x32, &[&text("a/b"), b"\0\x02", props, b"payload"]),
                packet(0x40, &[b"\0\x01"]),
                packet(0xA2, &[b"\0\x03", props, &text("a/+")]),
                PINGREQ.to_vec(),
            ]
            .concat();
            for _ in 0..=dice.below(4) {
                let at = dice.below(stream.len() as u64) as usize;
                match dice.below(4) {
                    0 => stream[at] = dice.next() as u8,
                    1 => stream[at] ^= 1 << dice.below(8),
                    2 => drop(stream.remove(at)),
                    _ => stream.insert(at, dice.next() as u8),
                }
            }
            let mut raw = Raw::connect(server.addr());
            // The gateway may have closed before it was all said.
            if raw.try_say(&stream).is_ok() && raw.fin().is_ok() {
                raw.last_words();
            }
        }
        let (mut raw, _) = Raw::let_in(server.addr(), &connect(4, "alive", 60));
        raw.say(&packet(0x32, &[&text("alive"), b"\0\x01", b"yes"]));
        raw.hear(b"\x40\x02\0\x01");
        raw.say(PINGREQ);
        raw.hear(PINGRESP);
        assert_eq!(listener.message(), "alive 0 0 yes");
    });
}
