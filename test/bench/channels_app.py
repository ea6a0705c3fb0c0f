"""
Django Channels with its Redis layer, as its documentation sets it up; run by channels.ts.

`serve REDIS_PORT` is Daphne with one consumer, whose sockets join the group of the user in their path; it prints its port.
`write REDIS_PORT` is an application that writes: it reads calls as lines of JSON from standard input and answers each
with one. Rows go in over asyncpg, which is quicker than the ORM, and `group_send` follows each after its commit.
"""

import asyncio
import json
import statistics
import sys
import time
from datetime import datetime

import django
from django.conf import settings

LAYER = {
    "BACKEND": "channels_redis.core.RedisChannelLayer",
    "CONFIG": {"hosts": [("127.0.0.1", int(sys.argv[2]))]},
}
settings.configure(SECRET_KEY="bench", CHANNEL_LAYERS={"default": LAYER})
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402


class Rows(AsyncWebsocketConsumer):
    async def connect(self):
        self.group = f"user_{self.scope['path'].rsplit('/', 1)[1]}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def row(self, event):
        await self.send(text_data=json.dumps(event["payload"]))


def serve():
    from daphne.server import Server

    server = Server(Rows.as_asgi(), endpoints=["tcp:port=0:interface=127.0.0.1:backlog=4096"], verbosity=0)
    server.ready_callable = lambda: print(server.listening_addresses[0][1], flush=True)
    server.run()


def clock():
    """Milliseconds of the machine's monotonic clock, as numbers.ts has it."""
    return time.monotonic_ns() / 1e6


def user_of(n, users):
    """As row.ts has it."""
    return ((n * 0x9E3779B1) & 0xFFFFFFFF) % users + 1


def frame_of(n):
    """As row.ts has it."""
    now = datetime.utcnow().isoformat(timespec="microseconds") + "Z"
    data = {"id": n, "notification_id": n, "title": "A row", "message": f"Row {n} was written",
            "notification_type": "row", "is_read": False, "created_at": now, "timestamp": now, "data": {"n": n}, "n": n}
    return {"type": "notification", "id": n, "data": data}


class Writers:
    def __init__(self):
        self.layer = get_channel_layer()
        self.pools = {}

    async def pool(self, url, size):
        import asyncpg

        if (url, size) not in self.pools:
            self.pools[url, size] = await asyncpg.create_pool(url, min_size=size, max_size=size)
        return self.pools[url, size]

    async def publish(self, user, n):
        await self.layer.group_send(f"user_{user}", {"type": "row", "payload": frame_of(n)})

    async def write(self, url, users, rate, seconds, connections=8, **job):
        pool = await self.pool(url, connections)
        sent, acks = [], []

        async def insert():
            n = job["from"] + len(sent)
            user, at = user_of(n, users), clock()
            sent.append(at)
            await pool.execute("insert into source (n, user_id) values ($1, $2)", n, user)
            await self.publish(user, n)
            acks.append(clock() - at)

        began = clock()
        if rate > 0:
            tasks = []
            while len(tasks) < rate * seconds:
                while len(tasks) < min(rate * seconds, (clock() - began) / 1000 * rate):
                    tasks.append(asyncio.ensure_future(insert()))
                await asyncio.sleep(0.001)
            await asyncio.gather(*tasks)
        else:
            async def lane():
                while clock() < began + seconds * 1000:
                    await insert()

            await asyncio.gather(*(lane() for _ in range(connections)))
        return {"sent": sent, "ackMs": statistics.median(acks)}

    async def burst(self, url, count, users, **job):
        pool = await self.pool(url, 1)
        rows = [(n, user_of(n, users)) for n in range(job["from"], job["from"] + count)]
        began = clock()
        await pool.execute("insert into source (n, user_id) select * from unnest($1::bigint[], $2::bigint[])",
                           [n for n, _ in rows], [user for _, user in rows])
        left = iter(rows)

        async def lane():
            for n, user in left:
                await self.publish(user, n)

        await asyncio.gather(*(lane() for _ in range(8)))
        return {"sent": began, "acked": clock()}

    async def broadcast(self, url, recipients, n):
        pool = await self.pool(url, 1)
        began = clock()
        await pool.execute("insert into source (n, user_id) select $1::bigint * 1000000 + u, u from generate_series(1, $2::int) u",
                           n, recipients)
        left = iter(range(1, recipients + 1))

        async def lane():
            for user in left:
                await self.publish(user, n)

        await asyncio.gather(*(lane() for _ in range(8)))
        return {"sent": began, "acked": clock()}

    async def shout(self, n):
        began = clock()
        await self.publish(1, n)
        return {"sent": began, "acked": clock()}


async def write():
    writers = Writers()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        call = json.loads(line)
        try:
            answer = {"result": await getattr(writers, call["name"])(**call["args"])}
        except Exception as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve() if sys.argv[1] == "serve" else asyncio.run(write())
