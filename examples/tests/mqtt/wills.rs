//! Last wills.

use serde_json::json;

use crate::client::{Client, mosquitto_pub, on_each_backend};

#[test]
fn a_will_goes_out_when_a_client_dies_and_not_when_it_says_goodbye() {
    on_each_backend("a_will_goes_out_when_a_client_dies_and_not_when_it_says_goodbye", &[], |server| {
        let mut mourner = Client::mosquitto_sub(server, &["-q", "1", "-t", "wills/+", "-t", "end"]);
        for version in [4, 5] {
            for qos in [0, 1] {
                let will = json!(["wills/1", format!("{version}"), qos, false]);
                let wishes = json!({ "version": version, "id": "mortal", "will": will });
                let (dying, reason, _) = Client::paho(server.addr(), wishes.clone());
                assert_eq!(reason, 0);
                dying.kill();
                assert_eq!(mourner.message(), format!("wills/1 {qos} 0 {version}"));

                let (mut leaving, ..) = Client::paho(server.addr(), wishes);
                leaving.order(&json!(["disconnect"]));
                leaving.hears("disconnected");
                mosquitto_pub(server, &["-q", "1", "-t", "end", "-n"]);
                assert_eq!(mourner.message(), "end 1 0 ");
            }
        }
        let will = json!(["wills/2", "all the same", 1, true]);
        let (mut leaving, ..) = Client::paho(server.addr(), json!({ "version": 5, "will": will }));
        leaving.order(&json!(["disconnect_with_will"]));
        assert_eq!(mourner.message(), "wills/2 1 0 all the same");
        let mut late = Client::mosquitto_sub(server, &["-q", "1", "-t", "wills/+"]);
        assert_eq!(late.message(), "wills/2 1 1 all the same", "a will can be retained");
    });
}
