//! Who gets which message.

use serde_json::json;

use crate::client::{Client, mosquitto_pub, mosquitto_pub_lines, on_each_backend};

/// The versions, in the words of mosquitto's clients.
const VERSIONS: [&str; 2] = ["311", "5"];

#[test]
fn a_message_reaches_who_listens_on_any_shard_and_nobody_else() {
    on_each_backend("a_message_reaches_who_listens_on_any_shard_and_nobody_else", &[], |server| {
        let publications = [("a/b/c", "1"), ("a", "2"), ("a//c", "3"), ("$own/a", "4"), ("b/b/c", "5")];
        let filters: [(&[&str], &str); 7] = [
            (&["a/b/c"], "1"),
            (&["a/#"], "123"),
            (&["a/+/c"], "13"),
            (&["+/+/c"], "135"),
            (&["#"], "1235"),
            (&["$own/#"], "4"),
            // Once, although two filters match.
            (&["a/#", "+/b/c"], "1235"),
        ];
        for (version, qos) in VERSIONS.into_iter().flat_map(|version| [(version, "0"), (version, "1")]) {
            let subscribers = filters.map(|(filters, expected)| {
                let mut args = vec!["-V", version, "-q", qos, "-t", "$end"];
                args.extend(filters.iter().flat_map(|filter| ["-t", filter]));
                (Client::mosquitto_sub(server, &args), expected)
            });
            for (topic, payload) in publications {
                // Publishers speak the other version.
                let version = if version == "5" { "311" } else { "5" };
                mosquitto_pub(server, &["-V", version, "-q", "1", "-t", topic, "-m", payload]);
            }
            mosquitto_pub(server, &["-q", "1", "-t", "$end", "-m", "end"]);
            for (mut subscriber, expected) in subscribers {
                for digit in expected.chars() {
                    let (topic, payload) = publications[digit.to_digit(10).expect("a digit") as usize - 1];
                    assert_eq!(subscriber.message(), format!("{topic} {qos} 0 {payload}"));
                }
                assert_eq!(subscriber.message(), format!("$end {qos} 0 end"));
            }
        }
    });
}

#[test]
fn a_retained_message_greets_every_new_listener_until_it_is_cleared() {
    on_each_backend("a_retained_message_greets_every_new_listener_until_it_is_cleared", &[], |server| {
        let mut listener = Client::mosquitto_sub(server, &["-t", "state/#", "-q", "1"]);
        mosquitto_pub(server, &["-q", "1", "-r", "-t", "state/1", "-m", "off"]);
        mosquitto_pub(server, &["-q", "0", "-r", "-t", "state/2", "-m", "off", "-V", "5"]);
        mosquitto_pub(server, &["-q", "1", "-r", "-t", "state/1", "-m", "on"]);
        // To who listens already, it is a message like any other.
        assert_eq!(listener.messages(3), ["state/1 1 0 off", "state/2 0 0 off", "state/1 1 0 on"]);
        // Connections alternate between the shards as the kernel likes it.
        for version in VERSIONS.into_iter().cycle().take(6) {
            let mut late = Client::mosquitto_sub(server, &["-V", version, "-t", "state/+", "-q", "1"]);
            assert_eq!(late.messages(2), ["state/1 1 1 on", "state/2 0 1 off"]);
        }
        mosquitto_pub(server, &["-q", "1", "-r", "-n", "-t", "state/1"]);
        assert_eq!(listener.message(), "state/1 1 0 ");
        for version in VERSIONS.into_iter().cycle().take(4) {
            let mut late = Client::mosquitto_sub(server, &["-V", version, "-t", "state/#", "-q", "1"]);
            assert_eq!(late.message(), "state/2 0 1 off");
        }
        let mut unwilling = Client::mosquitto_sub(server, &["-V", "5", "-R", "-t", "state/#", "-t", "live"]);
        mosquitto_pub(server, &["-q", "1", "-t", "live", "-m", "now"]);
        assert_eq!(unwilling.message(), "live 0 0 now");
    });
}

#[test]
fn what_is_unsubscribed_does_not_come_and_properties_travel_along() {
    on_each_backend("what_is_unsubscribed_does_not_come_and_properties_travel_along", &[], |server| {
        for version in [4, 5] {
            let (mut paho, reason, _) = Client::paho(server.addr(), json!({ "version": version }));
            assert_eq!(reason, 0);
            paho.order(&json!(["subscribe", [["one", 1], ["two", 2]]]));
            assert_eq!(paho.hears("subscribed"), json!(["subscribed", 1, 1]));
            paho.order(&json!(["unsubscribe", "one"]));
            paho.order(&json!(["publish", "one", "x", 1]));
            paho.hears("published");
            paho.order(&json!(["publish", "two", "y", 1]));
            // The gateway delivers before it acknowledges.
            assert_eq!(paho.hears("message"), json!(["message", "two", "y", 1, false]));
            assert_eq!(paho.hears("published"), json!(["published", 0]));
        }
        let mut v5 = Client::mosquitto_sub(server, &["-V", "5", "-t", "props", "-F", "%t %C %P"]);
        let props = ["-D", "publish", "content-type", "text", "-D", "publish", "user-property", "a", "b"];
        mosquitto_pub(server, &[&["-V", "5", "-t", "props", "-m", "x"], &props[..]].concat());
        assert_eq!(v5.message(), "props text a:b");
    });
}

#[test]
fn a_subscriber_that_does_not_read_does_not_hold_up_the_others() {
    let args = ["--keep-alive-max", "4"];
    on_each_backend("a_subscriber_that_does_not_read_does_not_hold_up_the_others", &args, |server| {
        let will = json!(["gone", "slow", 1, false]);
        let (mut slow, _, _) =
            Client::paho(server.addr(), json!({ "version": 5, "id": "slow", "will": will }));
        slow.order(&json!(["subscribe", "flood/#", 1]));
        slow.hears("subscribed");
        let mut fast = Client::mosquitto_sub(server, &["-V", "5", "-q", "1", "-t", "flood/#"]);
        let mut mourner = Client::mosquitto_sub(server, &["-t", "gone"]);
        slow.freeze();
        let lines: Vec<String> = (0..500).map(|nth| format!("{nth:01000}")).collect();
        for _ in 0..20 {
            mosquitto_pub_lines(server, &["-q", "1", "-t", "flood/1"], &lines);
            for line in &lines {
                assert_eq!(fast.message(), format!("flood/1 1 0 {line}"));
            }
        }
        assert_eq!(mourner.message(), "gone 0 0 slow");
    });
}
