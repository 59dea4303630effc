"""JetStream, key-value, object store and services with the official Python client."""

import asyncio
import hashlib
import os
from contextlib import asynccontextmanager

import nats
import nats.micro
from nats.js import api
from nats.js.errors import (
    BadRequestError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NotFoundError,
    ObjectNotFoundError,
)

from server import PATIENCE, Server, wait_until

CASES = []


def case(function):
    CASES.append(function)
    return function


@asynccontextmanager
async def jetstream():
    """A server with streams: a connection and its JetStream context."""
    async with Server(more=["-js", "-sd", "@DIR@/js"]) as server:
        client = await nats.connect(server.url, connect_timeout=PATIENCE)
        yield client, client.jetstream(timeout=PATIENCE)
        await client.close()


async def refused(error, coroutine):
    try:
        await coroutine
    except error as told:
        return told
    raise AssertionError(f"{error} was expected")


@case
async def streams_are_made_changed_and_filled():
    async with jetstream() as (_, js):
        made = await js.add_stream(name="S", subjects=["s.>"], max_msgs=100)
        assert made.config.max_msgs == 100
        acks = [await js.publish(f"s.{at % 3}", str(at).encode()) for at in range(30)]
        assert [ack.seq for ack in acks] == list(range(1, 31))
        again = [await js.publish("s.id", b"", headers={"Nats-Msg-Id": "x"}) for _ in range(2)]
        assert not again[0].duplicate and again[1].duplicate
        error = await refused(
            BadRequestError,
            js.publish("s.0", b"", headers={"Nats-Expected-Last-Sequence": "7"}),
        )
        assert error.err_code == 10071, error
        await js.update_stream(name="S", subjects=["s.>", "more"], max_msgs=10)
        info = await js.stream_info("S", subjects_filter=">")
        assert info.state.messages == 10 and info.config.subjects == ["s.>", "more"]
        assert (await js.get_last_msg("S", "s.2")).data == b"29"
        await js.purge_stream("S", subject="s.2")
        await refused(NotFoundError, js.get_last_msg("S", "s.2"))
        assert [it.config.name for it in await js.streams_info()] == ["S"]
        assert await js.delete_stream("S")
        await refused(NotFoundError, js.stream_info("S"))


@case
async def consumers_pull_push_and_keep_order():
    async with jetstream() as (client, js):
        await js.add_stream(name="S", subjects=["s.>"])
        for at in range(200):
            await js.publish(f"s.{at % 2}", str(at).encode(), headers={"At": str(at)})
        pull = await js.pull_subscribe("s.0", durable="even")
        got = []
        while len(got) < 100:
            for message in await pull.fetch(30, timeout=PATIENCE):
                await message.ack_sync(timeout=PATIENCE)
                assert message.headers["At"] == message.data.decode()
                got.append(int(message.data))
        assert got == list(range(0, 200, 2))
        info = await pull.consumer_info()
        assert (info.num_pending, info.num_ack_pending) == (0, 0)

        push = await js.subscribe("s.1", durable="odd", deliver_policy="all")
        for at in range(1, 200, 2):
            message = await push.next_msg(timeout=PATIENCE)
            assert message.metadata.sequence.stream == at + 1
            await message.ack()
        ordered = await js.subscribe("s.>", ordered_consumer=True)
        for at in range(200):
            assert (await ordered.next_msg(timeout=PATIENCE)).data == str(at).encode()

        # A queue of workers, one of which gives back what it gets.
        done, tried = set(), set()

        async def work(message):
            number = int(message.data)
            if number % 5 == 0 and number not in tried:
                tried.add(number)
                await message.nak()
            else:
                done.add(number)
                await message.ack()

        config = api.ConsumerConfig(ack_policy="explicit", max_ack_pending=10)
        for _ in range(3):
            await js.subscribe("s.>", queue="w", durable="w", cb=work, config=config, manual_ack=True)
        await wait_until("all to be worked on", lambda: len(done) == 200)
        assert len(tried) == 40


@case
async def a_work_queue_holds_what_is_not_done():
    async with jetstream() as (_, js):
        await js.add_stream(name="W", subjects=["w"], retention="workqueue")
        for at in range(20):
            await js.publish("w", str(at).encode())
        workers = await js.pull_subscribe("w", durable="workers")
        for message in await workers.fetch(15, timeout=PATIENCE):
            await message.ack_sync(timeout=PATIENCE)
        assert (await js.stream_info("W")).state.messages == 5
        await refused(BadRequestError, js.pull_subscribe("w", durable="others"))


@case
async def keys_and_values():
    async with jetstream() as (_, js):
        kv = await js.create_key_value(bucket="B", history=5)
        watched = await kv.watch("a.>")
        assert await watched.updates(timeout=PATIENCE) is None, "nothing yet"
        revisions = [await kv.put("a.x", str(at).encode()) for at in range(7)]
        entry = await kv.get("a.x")
        assert (entry.value, entry.revision) == (b"6", revisions[-1])
        assert [it.value for it in await kv.history("a.x")] == [b"2", b"3", b"4", b"5", b"6"]
        assert (await kv.get("a.x", revision=revisions[3])).value == b"3"
        for at in range(7):
            assert (await watched.updates(timeout=PATIENCE)).value == str(at).encode()
        # Compare and set.
        await refused(KeyWrongLastSequenceError, kv.update("a.x", b"no", last=revisions[0]))
        last = await kv.update("a.x", b"yes", last=revisions[-1])
        await refused(KeyWrongLastSequenceError, kv.create("a.x", b"no"))
        await kv.delete("a.x")
        await refused(KeyNotFoundError, kv.get("a.x"))
        assert await kv.create("a.x", b"anew") > last
        await kv.purge("a.x")
        assert len(await kv.history("a.x")) == 1
        await refused(KeyNotFoundError, kv.get("never"))
        for at in range(50):
            await kv.put(f"k.{at}", b"v")
        assert len(await kv.keys()) == 50
        status = await kv.status()
        assert (status.bucket, status.history) == ("B", 5)
        assert await js.delete_key_value("B")


@case
async def keys_that_end_by_themselves():
    async with jetstream() as (_, js):
        kv = await js.create_key_value(bucket="T", ttl=1)
        await kv.put("short", b"v")
        assert (await kv.get("short")).value == b"v"

        async def is_gone():
            try:
                await kv.get("short")
                return False
            except KeyNotFoundError:
                return True

        async def gone():
            while not await is_gone():
                await asyncio.sleep(0.05)

        await asyncio.wait_for(gone(), PATIENCE)


@case
async def objects_large_and_small():
    async with jetstream() as (_, js):
        store = await js.create_object_store(bucket="O")
        large = os.urandom(1 << 20) * 8
        info = await store.put("large", large)
        assert info.size == len(large) and info.chunks == 8 * 8, info
        found = await store.get("large")
        assert hashlib.sha256(found.data).digest() == hashlib.sha256(large).digest()
        await store.put("small", b"s", meta=api.ObjectMeta(description="little"))
        await store.put("small", b"another")
        assert (await store.get("small")).data == b"another"
        assert sorted(it.name for it in await store.list()) == ["large", "small"]
        await store.update_meta("small", api.ObjectMeta(name="small", description="changed"))
        assert (await store.get_info("small")).description == "changed"
        await store.delete("large")
        await refused(ObjectNotFoundError, store.get("large"))
        assert (await js.stream_info("OBJ_O")).state.bytes < 10_000
        await store.seal()
        assert (await store.status()).sealed


@case
async def services_are_found_and_counted():
    async with jetstream() as (client, _):
        service = await nats.micro.add_service(client, name="double", version="1.0.0")

        async def double(request):
            await request.respond(request.data * 2)

        await service.add_endpoint(name="double", handler=double)
        answers = [await client.request("double", b"x", timeout=PATIENCE) for _ in range(10)]
        assert all(it.data == b"xx" for it in answers)
        stats = await client.request("$SRV.STATS.double", b"", timeout=PATIENCE)
        assert b'"num_requests":10' in stats.data.replace(b" ", b""), stats.data
        await service.stop()
