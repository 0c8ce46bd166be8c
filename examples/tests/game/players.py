"""Players of the game, on the `websockets` package: `players.py SCENE ADDRESS` plays a scene and fails if the server does."""

import asyncio
import http.client
import json
import socket
import struct
import sys
import time

from websockets.asyncio.client import connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.uri import parse_uri

ADDRESS = sys.argv[2]
SHARDS = {0, 1}
# Longer than anything here takes, so that a server that hangs is found as well.
PATIENCE = 20


class Player:
    """A connection that keeps the newest picture of its room."""

    def __init__(self, socket, welcome):
        self.socket = socket
        self.token, self.id, self.shard = welcome["token"], welcome["id"], welcome["shard"]
        self.figures, self.pictures, self.others_tokens = {}, 0, set()
        self.changed = asyncio.Event()
        self.reader = asyncio.create_task(self.read())

    @classmethod
    async def join(cls, name, token="", room="lobby"):
        # Liveness is the server's affair here.
        uri = f"ws://{ADDRESS}/play?room={room}&name={name}&token={token}"
        socket = await connect(uri, ping_interval=None, compression=None)
        return cls(socket, json.loads(await socket.recv()))

    async def read(self):
        try:
            async for message in self.socket:
                figures = json.loads(message)["players"]
                self.figures = {figure["id"]: figure for figure in figures}
                assert len(self.figures) == len(figures), f"somebody is there twice: {figures}"
                assert not any(token in message for token in self.others_tokens), "a token was told to others"
                self.pictures += 1
                self.changed.set()
        except ConnectionClosed:
            pass

    async def sees(self, id, **expected):
        """Waits until it sees the player like this."""
        while not (id in self.figures and expected.items() <= self.figures[id].items()):
            self.changed.clear()
            if self.reader.done():
                raise AssertionError(f"closed ({self.socket.close_code}): {self.reader.exception()}")
            await self.changed.wait()

    async def move(self, x, y):
        await self.socket.send(json.dumps({"do": "move", "x": x, "y": y}))

    async def close_code(self):
        await self.socket.wait_closed()
        await self.reader
        return self.socket.close_code

    def vanish(self):
        self.socket.transport.abort()


async def watchers():
    """A player on each shard: what all of them see is known everywhere."""
    found = {}
    while set(found) != SHARDS:
        player = await Player.join("watcher")
        if player.shard in found:
            await player.socket.close()
        else:
            found[player.shard] = player
    return list(found.values())


async def all_see(players, id, **expected):
    await asyncio.gather(*(player.sees(id, **expected) for player in players))


async def meet():
    ann, ben = await Player.join("Ann"), await Player.join("Ben")
    stranger = await Player.join("Cleo", room="attic")
    await ann.move(100, 200)
    await ben.sees(ann.id, name="Ann", x=100, y=200, presence="here")
    await ben.move(5000, -1)
    await all_see([ann, ben], ben.id, x=1000, y=0)
    await stranger.sees(stranger.id)
    assert set(stranger.figures) == {stranger.id}, "rooms are apart"
    for player in [ann, ben]:
        await (await player.socket.ping(b"still there?"))
    await ann.socket.send("no JSON")
    await ann.socket.send(b'{"do":"dance"}')
    # A message in pieces, with a ping in between.
    await ann.socket.send(["", '{"do":"mo', 've","x":7', ',"y":8}'])
    await ben.sees(ann.id, x=7, y=8)
    await ann.socket.close(1000, "good night")
    assert ann.socket.close_code == 1000
    await ben.sees(ann.id, presence="lost")


async def resume():
    seers = await watchers()
    player = await Player.join("Ann")
    token, id = player.token, player.id
    ways = set()
    for attempt in range(100):
        for seer in seers:
            seer.others_tokens.add(token)
        await player.move(attempt, 456)
        await all_see(seers, id, x=attempt, y=456, presence="here")
        player.vanish()
        await all_see(seers, id, x=attempt, y=456, presence="lost")
        before, player = player.shard, await Player.join("Ann", token)
        assert (player.id, player.token) == (id, token)
        await player.sees(id)
        assert (player.figures[id]["x"], player.figures[id]["y"]) == (attempt, 456), "it resumes where it was"
        await all_see(seers, id, presence="here")
        ways.add("same shard" if player.shard == before else "another shard")
        if len(ways) == 2:
            break
    assert len(ways) == 2, ways
    # What others see of a player is not enough to be it.
    thief = await Player.join("thief", id.ljust(32, "0"))
    await thief.sees(thief.id)
    assert thief.id != id
    await all_see(seers, id, presence="here")


async def takeover():
    seers = await watchers()
    player = await Player.join("Ann")
    ways = set()
    # The flap guard takes 20 within a minute for nothing unusual.
    for attempt in range(18):
        await player.move(attempt, 1)
        await all_see(seers, player.id, x=attempt, y=1)
        old, player = player, await Player.join("Ann", player.token)
        assert await old.close_code() == 4000, old.socket.close_code
        pictures = old.pictures
        await player.sees(player.id)
        assert player.id == old.id and player.figures[player.id]["x"] == attempt
        await player.move(500, 2)
        await all_see(seers, player.id, x=500, y=2, presence="here")
        assert old.pictures == pictures, "the old connection is served"
        ways.add("same shard" if player.shard == old.shard else "another shard")
        if len(ways) == 2:
            break
    assert len(ways) == 2, ways


async def slow():
    """One does not read for two seconds. The others are not held up, and it gets what is new and not what it has missed."""
    crowd = await asyncio.gather(*(Player.join("abcdefghijklmnop") for _ in range(60)))
    clock = crowd[0]  # Where it stands is the time in ticks.
    await clock.move(0, 0)
    await all_see(crowd, clock.id, x=0, y=0)
    reader = SlowReader()
    before = clock.pictures
    until = time.monotonic() + 2
    while time.monotonic() < until:
        await clock.move(clock.pictures - before, 0)
        seen = clock.pictures
        while clock.pictures == seen:
            clock.changed.clear()
            await clock.changed.wait()
    ticks = clock.pictures - before
    # About ten fit into the buffers of the slow one: waiting for it, the others would get no more.
    assert ticks >= 15, f"{ticks} pictures in two seconds: the fast ones are held up"
    times = await asyncio.to_thread(reader.read_times, clock.id, ticks - 3)
    leap = max(after - before for before, after in zip(times, times[1:]))
    print(f"slow: {ticks} ticks, {len(times)} pictures read, {leap} ticks leapt over")
    assert leap >= ticks / 4, f"it got everything that it had missed: {times}"
    assert all(not player.reader.done() for player in crowd)
    await clock.sees(reader.id, presence="here")


class SlowReader:
    """A player on a socket of its own, which reads when it is told to."""

    def __init__(self):
        host, port = ADDRESS.rsplit(":", 1)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((host, int(port)))
        self.protocol = ClientProtocol(parse_uri(f"ws://{ADDRESS}/play?name=slow"))
        self.protocol.send_request(self.protocol.connect())
        self.flush()
        self.id = next(message["id"] for message in self.messages())

    def flush(self):
        for data in self.protocol.data_to_send():
            self.socket.sendall(data)

    def messages(self):
        while True:
            data = self.socket.recv(4096)
            assert data, "it was disconnected"
            self.protocol.receive_data(data)
            self.flush()  # Pongs.
            for event in self.protocol.events_received():
                if hasattr(event, "opcode") and event.opcode == 1:
                    yield json.loads(event.data)

    def read_times(self, clock, until):
        """Where the clock stands in each picture, up to one that is recent."""
        times = []
        for message in self.messages():
            times += [figure["x"] for figure in message.get("players", []) if figure["id"] == clock]
            if times and times[-1] >= until:
                return times


async def broken():
    """Whoever breaks the rules is told so and closed; the others play on."""
    witness = await Player.join("witness")
    breaches = {
        "a message above the limit": (1009, lambda socket: socket.send("x" * 1025)),
        "one that is announced and never comes": (1009, raw(b"\x82\xff" + struct.pack(">Q", 1 << 40) + bytes(4))),
        "fragments above the limit": (1009, lambda socket: socket.send(["x" * 1000, "x" * 100])),
        "a text that is not UTF-8": (1007, raw(b"\x81\x81" + bytes(4) + b"\xff")),
        "a reserved bit": (1002, raw(b"\xc1\x80" + bytes(4))),
        "no mask": (1002, raw(b"\x81\x02{}")),
        "a long ping": (1002, raw(b"\x89\xfe\x00\x7e" + bytes(130))),
    }
    for what, (code, commit) in breaches.items():
        culprit = await Player.join("culprit")
        await culprit.sees(culprit.id)
        await commit(culprit.socket)
        assert await culprit.close_code() == code, (what, culprit.socket.close_code)
    await witness.move(1, 2)
    await witness.sees(witness.id, x=1, y=2)


def raw(data):
    async def write(socket):
        socket.transport.write(data)

    return write


async def pages():
    def status(method, path, headers={}):
        connection = http.client.HTTPConnection(ADDRESS, timeout=PATIENCE)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def closed(request):
        """Whether the server closes without a word."""
        host, port = ADDRESS.rsplit(":", 1)
        with socket.create_connection((host, int(port)), PATIENCE) as rude:
            try:
                rude.sendall(request)
                return rude.recv(1000) == b""
            except ConnectionError:
                return True

    found, page = status("GET", "/?name=Ann&room=attic")
    assert found == 200 and b"Who is there?" in page
    assert status("GET", "/favicon.ico")[0] == 404
    assert status("POST", "/")[0] == 405
    assert status("GET", "/play")[0] == 426
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "8",
    }
    assert status("GET", "/play", upgrade)[0] == 426
    try:
        await connect(f"ws://{ADDRESS}/elsewhere")
    except InvalidStatus as refusal:
        assert refusal.response.status_code == 404
    else:
        raise AssertionError("there is no such WebSocket")
    assert closed(b"\x16\x03\x01\x02\x00 a TLS hello\r\n\r\n")
    assert closed(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100 + b"\r\n")
    assert closed(b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n")


async def full():
    """128 players fit on a shard. The next one is turned away, until somebody is lost."""
    host, port = ADDRESS.rsplit(":", 1)
    head = (
        f"GET /play HTTP/1.1\r\nHost: {ADDRESS}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    seer = await Player.join("seer")
    crowd = [socket.create_connection((host, int(port))) for _ in range(127)]
    for one in crowd:
        one.sendall(head.encode())
    while len(seer.figures) < 128:
        seer.changed.clear()
        await seer.changed.wait()
    refused = await Player.join("refused")
    assert await refused.close_code() == 1013
    crowd.pop().close()
    while all(figure["presence"] != "lost" for figure in seer.figures.values()):
        seer.changed.clear()
        await seer.changed.wait()
    await seer.sees((await Player.join("late")).id)
    assert len(seer.figures) == 128


async def farewell():
    players = await watchers()
    for player in players:
        await player.sees(player.id)
    print("they play", flush=True)
    codes = [await player.close_code() for player in players]
    assert codes == [1001, 1001], codes


asyncio.run(asyncio.wait_for(globals()[sys.argv[1]](), PATIENCE))
