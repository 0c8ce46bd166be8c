//! Who is let in, and two who say that they are one.

use std::time::Duration;

use serde_json::json;

use crate::client::{
    BUSY, Client, PATIENCE, TAKEN_OVER, mosquitto_pub, now, number, on_each_backend, try_mosquitto_pub,
};

#[test]
fn only_who_knows_the_password_is_let_in() {
    on_each_backend("only_who_knows_the_password_is_let_in", &["--user", "pump:s3:cret"], |server| {
        for version in ["311", "5"] {
            let publish = ["-V", version, "-t", "a", "-m", "x"];
            mosquitto_pub(server, &[&publish[..], &["-u", "pump", "-P", "s3:cret"]].concat());
            let wrong: [&[&str]; 4] =
                [&[], &["-u", "pump"], &["-u", "pump", "-P", "s3"], &["-u", "Pump", "-P", "s3:cret"]];
            for login in wrong {
                let refused = try_mosquitto_pub(server, &[&publish[..], login].concat());
                let why = String::from_utf8_lossy(&refused.stderr).to_lowercase();
                assert!(!refused.status.success(), "{login:?}");
                assert!(why.contains("bad user name or password"), "{version} {login:?}: {why}");
            }
        }
        for version in [4, 5] {
            let login = |password| json!({ "version": version, "user": ["pump", password] });
            assert_eq!(Client::paho(server.addr(), login("s3:cret")).1, 0);
            assert_eq!(
                Client::paho(server.addr(), login("secret")).1,
                0x86,
                "in paho's words for both versions"
            );
        }
    });
}

#[test]
fn who_has_no_name_is_given_one() {
    on_each_backend("who_has_no_name_is_given_one", &[], |server| {
        let (_first, _, props) = Client::paho(server.addr(), json!({ "version": 5 }));
        let (_second, _, others) = Client::paho(server.addr(), json!({ "version": 5 }));
        let name = props["AssignedClientIdentifier"].as_str().expect("a name");
        assert_ne!(Some(name), others["AssignedClientIdentifier"].as_str());
        let (_named, _, props) = Client::paho(server.addr(), json!({ "version": 5, "id": "named" }));
        assert_eq!(props.get("AssignedClientIdentifier"), None);
        assert_eq!(Client::paho(server.addr(), json!({ "version": 4 })).1, 0);
    });
}

#[test]
fn the_second_with_an_id_takes_over_and_the_first_is_told() {
    on_each_backend("the_second_with_an_id_takes_over_and_the_first_is_told", &[], |server| {
        let twin =
            |version| json!({ "version": version, "id": "twin", "will": ["will", "taken over", 1, false] });
        let mut mourner = Client::mosquitto_sub(server, &["-q", "1", "-t", "will"]);
        let (mut holder, ..) = Client::paho(server.addr(), twin(5));
        // On the same shard, and across shards.
        for version in [5, 4, 5, 4, 5, 5] {
            let (next, reason, _) = Client::paho(server.addr(), twin(version));
            assert_eq!(reason, 0);
            let told = number(&holder.hears("disconnected")[1]);
            // 3.1.1 has no word for it, and paho says that it does not know why.
            assert!(told == TAKEN_OVER || told == 0x80, "{told:#x}");
            assert_eq!(mourner.message(), "will 1 0 taken over");
            holder = next;
        }
        holder.order(&json!(["subscribe", "mine", 1]));
        holder.hears("subscribed");
        mosquitto_pub(server, &["-q", "1", "-t", "mine", "-m", "x"]);
        assert_eq!(holder.hears("message"), json!(["message", "mine", "x", 1, false]));
    });
}

#[test]
fn two_that_fight_for_an_id_are_damped() {
    on_each_backend("two_that_fight_for_an_id_are_damped", &[], |server| {
        let twin = json!({ "version": 5, "id": "twin", "reconnect_after": 0.05 });
        let twins = [(); 2].map(|()| Client::paho_connecting(server.addr(), twin.clone()));
        let (mut takeovers, mut refusals) = (0, 0);
        let began = now();
        while refusals < 5 {
            assert!(began.elapsed() < PATIENCE, "{takeovers} takeovers, {refusals} refusals");
            for told in twins.iter().filter_map(|twin| twin.hears_within(Duration::from_millis(20))) {
                if told == json!(["disconnected", TAKEN_OVER]) {
                    takeovers += 1;
                    assert_eq!(refusals, 0, "who is refused leaves the holder in peace");
                }
                refusals += u32::from(told[0] == "connected" && told[1] == BUSY);
            }
        }
        // The bound of `FlapGuard`.
        assert!((1..=20).contains(&takeovers), "{takeovers}");
    });
}
