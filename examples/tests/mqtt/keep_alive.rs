//! Keep-alives: what is granted, who is dead, and when.

use std::thread;
use std::time::Duration;

use heartring_tests::{NEAR, Wire, skip};
use serde_json::json;

use crate::client::{Client, are_here, now, on_each_backend};
use crate::common::server::{Server, backends};
use crate::wire::{Raw, connect};

/// The shortest that the gateway grants, in seconds, and when a client is dead that beats no faster.
const KEEP_ALIVE: u16 = 2;
const DEAD_WITHIN: Duration = Duration::from_secs(3);

/// How late the news of a death may be on a machine that is busy with other tests.
const SLACK: Duration = Duration::from_secs(2);

#[test]
fn a_keep_alive_is_granted_within_bounds_and_the_client_is_told() {
    on_each_backend("a_keep_alive_is_granted_within_bounds_and_the_client_is_told", &[], |server| {
        for (asked, granted) in [(1, Some(2)), (2, None), (60, None), (300, None), (301, Some(300))] {
            let wishes = json!({ "version": 5, "keep_alive": asked });
            let props = Client::paho(server.addr(), wishes).2;
            assert_eq!(
                props.get("ServerKeepAlive"),
                granted.map(|granted| json!(granted)).as_ref(),
                "{asked}"
            );
        }
        // paho does not ask for none.
        let (_raw, connack) = Raw::let_in(server.addr(), &connect(5, "forever", 0));
        let server_keep_alive = [0x13, 0x01, 0x2C];
        assert!(connack.windows(3).any(|bytes| bytes == server_keep_alive), "{connack:x?}");
    });
}

#[test]
fn a_client_that_is_stopped_dies_after_one_and_a_half_keep_alives_and_one_that_pings_lives() {
    let test = "a_client_that_is_stopped_dies_after_one_and_a_half_keep_alives_and_one_that_pings_lives";
    on_each_backend(test, &[], |server| {
        let wishes = |version| json!({ "version": version, "keep_alive": KEEP_ALIVE });
        let (mut mourner, ..) = Client::paho(server.addr(), wishes(5));
        mourner.order(&json!(["subscribe", "dead", 1]));
        mourner.hears("subscribed");
        for version in [4, 5] {
            let mut wishes = wishes(version);
            wishes["will"] = json!(["dead", "stopped", 1, false]);
            let (mut stopped, ..) = Client::paho(server.addr(), wishes);
            let spoke_after = now();
            stopped.order(&json!(["publish", "a", "x", 1]));
            stopped.hears("published");
            stopped.freeze();
            let stopped_at = now();
            // The mourner says nothing but PINGREQ meanwhile.
            assert_eq!(mourner.hears("message"), json!(["message", "dead", "stopped", 1, false]));
            assert!(spoke_after.elapsed() >= DEAD_WITHIN, "{:?}", spoke_after.elapsed());
            assert!(stopped_at.elapsed() < DEAD_WITHIN + SLACK, "{:?}", stopped_at.elapsed());
        }
        let mut silent = Raw::connect(server.addr());
        let spoke_after = now();
        silent.say(&connect(5, "silent", KEEP_ALIVE));
        let words = silent.last_words();
        assert!(spoke_after.elapsed() >= DEAD_WITHIN, "{:?}", spoke_after.elapsed());
        let connack = 2 + usize::from(words[1]);
        assert_eq!((words[connack], words[connack + 2]), (0xE0, 0x8D), "keep alive timeout: {words:x?}");
    });
}

/// The wire is cut: neither FIN nor RST, and nobody answers.
#[test]
fn a_client_behind_a_cut_wire_is_found_dead() {
    let test = "a_client_behind_a_cut_wire_is_found_dead";
    if !are_here(test) {
        return;
    }
    let body = |backend| {
        let wire = match Wire::new() {
            Ok(wire) => wire,
            Err(why) => return skip(test, &why),
        };
        let listen = format!("{NEAR}:0");
        let server = Server::start_on(&listen, "mqtt", backend, &["--shards", "2"]);
        let address = server.addr();
        let (mut mourner, ..) = Client::paho(address, json!({ "version": 4 }));
        mourner.order(&json!(["subscribe", "dead", 1]));
        mourner.hears("subscribed");
        let will = json!(["dead", "cut off", 1, false]);
        let wishes = json!({ "version": 5, "keep_alive": KEEP_ALIVE, "will": will });
        let (_far, reason, _) = wire.at_far_end(move || Client::paho(address, wishes));
        assert_eq!(reason, 0);
        wire.cut();
        let cut_at = now();
        assert_eq!(mourner.hears("message"), json!(["message", "dead", "cut off", 1, false]));
        // Its last PINGREQ may be as old as its keep-alive.
        let took = cut_at.elapsed();
        assert!(took + Duration::from_secs(KEEP_ALIVE.into()) >= DEAD_WITHIN, "{took:?}");
        assert!(took < DEAD_WITHIN + SLACK, "{took:?}");
        server.stop();
    };
    thread::scope(|scope| backends().for_each(|backend| drop(scope.spawn(move || body(backend)))));
}
