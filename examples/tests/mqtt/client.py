"""A client of paho-mqtt. It does what its standard input says, a JSON array a line, and tells in the same form what happens."""

import json
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode


def say(*words):
    print(json.dumps(words), flush=True)


wishes = json.loads(sys.argv[1])
client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2,
    client_id=wishes.get("id", ""),
    protocol=mqtt.MQTTv5 if wishes["version"] == 5 else mqtt.MQTTv311,
    reconnect_on_failure="reconnect_after" in wishes,
)
if "reconnect_after" in wishes:
    client.reconnect_delay_set(wishes["reconnect_after"], wishes["reconnect_after"])
if "user" in wishes:
    client.username_pw_set(*wishes["user"])
if "will" in wishes:
    client.will_set(*wishes["will"])
client.on_connect = lambda _c, _u, _flags, reason, props: say("connected", reason.value, props.json() if props else {})
client.on_disconnect = lambda _c, _u, _flags, reason, _props: say("disconnected", reason.value)
client.on_subscribe = lambda _c, _u, _mid, reasons, _props: say("subscribed", *[reason.value for reason in reasons])
client.on_publish = lambda _c, _u, _mid, reason, _props: say("published", reason.value)
client.on_message = lambda _c, _u, it: say("message", it.topic, it.payload.decode(), it.qos, it.retain)
client.connect(wishes["host"], wishes["port"], wishes.get("keep_alive", 60))
client.loop_start()

for line in sys.stdin:
    order, *words = json.loads(line)
    if order == "disconnect_with_will":
        client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=4))
    else:
        getattr(client, order)(*words)
