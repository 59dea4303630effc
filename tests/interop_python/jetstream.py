"""Streams, consumers, buckets, objects and services, through the official Python client."""

import asyncio
import contextlib
import hashlib
import io
import json

import nats.micro
from nats.js import api, errors
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType

from client import Client, case, receive
from server import PATIENCE, Server, wait_until

CONFIG = 'jetstream { store_dir: "@DIR@/store", max_file: 1GB, max_mem: 64MB }'


@contextlib.asynccontextmanager
async def jetstream():
    """JetStream of a new server, as a client has it."""
    async with Server(CONFIG) as server:
        client = await Client.to(server)
        yield client.nats.jetstream(timeout=PATIENCE)
        await client.nats.close()


@contextlib.asynccontextmanager
async def refused(code):
    """What is done within must be refused with this error."""
    try:
        yield
    except errors.APIError as error:
        assert error.err_code == code, error
    else:
        raise AssertionError(f"not refused with {code}")


async def eventually(what, ready):
    """Polls a coroutine function until it gives something true."""
    for _ in range(int(PATIENCE / 0.05)):
        if await ready():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"waited in vain for {what}")


@case
async def streams_are_made_changed_and_removed():
    async with jetstream() as js:
        for name, storage in [("FILE", StorageType.FILE), ("MEMORY", StorageType.MEMORY)]:
            info = await js.add_stream(name=name, subjects=[f"{name}.>"], storage=storage)
            assert (info.config.name, info.config.storage) == (name, storage), info
        assert {it.config.name for it in await js.streams_info()} == {"FILE", "MEMORY"}
        assert await js.find_stream_name_by_subject("FILE.x") == "FILE"
        async with refused(10065):
            await js.add_stream(name="OTHER", subjects=["FILE.x"])
        for at in range(20):
            await js.publish(f"FILE.{at % 2}", str(at).encode())
        info = await js.update_stream(name="FILE", subjects=["FILE.>"], max_msgs=10)
        assert info.config.max_msgs == 10
        state = (await js.stream_info("FILE", subjects_filter=">")).state
        assert (state.messages, state.first_seq, state.last_seq) == (10, 11, 20), state
        assert state.subjects == {"FILE.0": 5, "FILE.1": 5}, state
        assert (await js.get_msg("FILE", 15)).data == b"14"
        assert (await js.get_last_msg("FILE", "FILE.0")).seq == 19
        assert await js.delete_msg("FILE", 15)
        await js.purge_stream("FILE", subject="FILE.1", keep=1)
        assert (await js.stream_info("FILE")).state.messages == 5
        usage = await js.account_info()
        assert usage.streams == 2, usage
        for name in ["FILE", "MEMORY"]:
            assert await js.delete_stream(name)
        assert await js.streams_info() == []


@case
async def what_is_published_is_acknowledged_once_and_as_expected():
    async with jetstream() as js:
        await js.add_stream(name="S", subjects=["s.>"], duplicate_window=60)
        first = await js.publish("s.a", b"1", headers={api.Header.MSG_ID: "one"})
        again = await js.publish("s.a", b"1", headers={api.Header.MSG_ID: "one"})
        assert (first.seq, first.duplicate) == (1, None), first
        assert (again.seq, again.duplicate) == (1, True), again
        async with refused(10060):
            await js.publish("s.a", stream="OTHER")
        async with refused(10071):
            await js.publish("s.a", headers={api.Header.EXPECTED_LAST_SEQUENCE: "7"})
        try:
            await js.publish("elsewhere")
            raise AssertionError("nobody keeps it")
        except errors.NoStreamResponseError:
            pass
        acks = [await js.publish_async("s.b", str(at).encode()) for at in range(1000)]
        sequences = [(await ack).seq for ack in acks]
        assert sequences == list(range(2, 1002)), sequences[:10]


@case
async def pull_consumers_hand_out_and_redeliver():
    async with jetstream() as js:
        await js.add_stream(name="S", subjects=["s.>"])
        for at in range(10):
            await js.publish("s.a", str(at).encode(), headers={"At": str(at)})
        config = ConsumerConfig(ack_wait=PATIENCE, max_deliver=3)
        pull = await js.pull_subscribe("s.>", "worker", config=config)
        messages = await pull.fetch(5, timeout=PATIENCE)
        assert [it.data for it in messages] == [str(at).encode() for at in range(5)]
        assert [it.headers["At"] for it in messages] == [str(at) for at in range(5)]
        assert [it.metadata.sequence.stream for it in messages] == [1, 2, 3, 4, 5]
        for message in messages[:3]:
            await message.ack_sync(timeout=PATIENCE)
        await messages[3].nak()
        await messages[4].term()
        rest = []
        while len(rest) < 6:
            rest += await pull.fetch(6 - len(rest), timeout=PATIENCE)
        for message in rest:
            await message.in_progress()
            await message.ack_sync(timeout=PATIENCE)
        # What was refused comes again, when is the server's choice.
        deliveries = {int(it.data): it.metadata.num_delivered for it in rest}
        assert deliveries == {3: 2} | {at: 1 for at in range(5, 10)}, deliveries
        info = await pull.consumer_info()
        assert (info.num_pending, info.num_ack_pending) == (0, 0), info
        assert info.ack_floor.stream_seq == 10, info
        try:
            await pull.fetch(1, timeout=0.2)
            raise AssertionError("nothing is left")
        except nats.errors.TimeoutError:
            pass
        assert (await js.consumer_info("S", "worker")).name == "worker"
        assert (await js.pause_consumer("S", "worker", "2100-01-01T00:00:00Z")).paused
        assert not (await js.resume_consumer("S", "worker")).paused
        assert await js.delete_consumer("S", "worker")


@case
async def push_consumers_deliver_to_one_and_to_a_group():
    async with jetstream() as js:
        await js.add_stream(name="S", subjects=["s.>"])
        push = await js.subscribe("s.>", durable="push", manual_ack=True)
        members, heard = [], [[], []]
        for mine in heard:

            async def keep(message, mine=mine):
                mine.append(message.data)

            members.append(await js.subscribe("s.>", "group", cb=keep))
        for at in range(200):
            await js.publish("s.a", str(at).encode())
        for at in range(200):
            message = await receive(push)
            assert message.data == str(at).encode(), message
            await message.ack()
        await wait_until("all in the group", lambda: sum(map(len, heard)) >= 200)
        assert sorted(int(it) for mine in heard for it in mine) == list(range(200))
        assert all(heard), "a member without work"
        await eventually("all acknowledged", lambda: acknowledged(push, 200))
        await push.unsubscribe()


async def acknowledged(subscription, count):
    return (await subscription.consumer_info()).ack_floor.stream_seq == count


@case
async def ordered_consumers_deliver_all_in_order():
    async with jetstream() as js:
        await js.add_stream(name="S", subjects=["s.>"])
        payload = b"x" * 10_000
        for at in range(2000):
            await js.publish_async("s.a", payload + str(at).encode())
        await js.publish_async_completed()
        ordered = await js.subscribe("s.>", ordered_consumer=True)
        for at in range(2000):
            message = await receive(ordered)
            assert message.data == payload + str(at).encode(), at
        await ordered.unsubscribe()


@case
async def a_work_queue_gives_each_message_once():
    async with jetstream() as js:
        await js.add_stream(name="W", subjects=["w"], retention=RetentionPolicy.WORK_QUEUE)
        for at in range(100):
            await js.publish("w", str(at).encode())
        one = await js.pull_subscribe("w", "workers")
        other = await js.pull_subscribe_bind("workers", stream="W")
        seen = []
        for pull in [one, other] * 5:
            for message in await pull.fetch(10, timeout=PATIENCE):
                await message.ack_sync(timeout=PATIENCE)
                seen.append(int(message.data))
        assert seen == list(range(100)), seen
        assert (await js.stream_info("W")).state.messages == 0
        async with refused(10099):
            await js.add_consumer("W", durable_name="more", ack_policy=AckPolicy.EXPLICIT)


@case
async def messages_leave_when_their_time_is_over():
    async with jetstream() as js:
        await js.add_stream(name="T", subjects=["t.>"], allow_msg_ttl=True)
        await js.publish("t.short", b"", msg_ttl=1)
        await js.publish("t.long", b"", msg_ttl=3600)

        async def one_is_left():
            return (await js.stream_info("T")).state.messages == 1

        await eventually("one has left", one_is_left)
        assert (await js.get_last_msg("T", "t.>")).subject == "t.long"
        await js.add_stream(name="PLAIN", subjects=["p"])
        async with refused(10166):
            await js.publish("p", b"", msg_ttl=1)


@case
async def keys_and_values():
    async with jetstream() as js:
        bucket = await js.create_key_value(bucket="B", history=5, direct=True)
        assert await bucket.put("k", b"1") == 1
        assert await bucket.update("k", b"2", last=1) == 2
        for attempt in [bucket.update("k", b"3", last=1), bucket.create("k", b"3")]:
            try:
                await attempt
                raise AssertionError("another one was first")
            except errors.KeyWrongLastSequenceError:
                pass
        assert ((await bucket.get("k")).value, (await bucket.get("k", 1)).value) == (b"2", b"1")
        await bucket.delete("k")
        try:
            await bucket.get("k")
            raise AssertionError("deleted, and found")
        except errors.KeyNotFoundError:
            pass
        history = [(it.operation, it.value) for it in await bucket.history("k")]
        assert history == [(None, b"1"), (None, b"2"), ("DEL", b"")], history
        assert await bucket.create("k", b"4") == 4
        # Back to what it was at first.
        assert await bucket.put("k", (await bucket.get("k", 1)).value) == 5
        await bucket.put("other.key", b"x" * 1000)
        assert sorted(await bucket.keys()) == ["k", "other.key"]
        await bucket.purge("k")
        history = [it.operation for it in await bucket.history("k")]
        assert history == ["PURGE"], history
        await bucket.purge_deletes(olderthan=-1)
        assert (await bucket.status()).values == 1
        assert await js.delete_key_value("B")


@case
async def buckets_are_watched():
    async with jetstream() as js:
        bucket = await js.create_key_value(bucket="B", history=3)
        await bucket.put("a.1", b"1")
        await bucket.put("a.1", b"2")
        await bucket.put("b", b"3")
        everything = await bucket.watchall()
        some = await bucket.watch("a.*", include_history=True)
        await bucket.put("a.2", b"4")
        await bucket.delete("a.1")

        async def seen(watcher, count):
            entries = [await watcher.updates(timeout=PATIENCE) for _ in range(count)]
            return [it and (it.key, it.value, it.operation) for it in entries]

        later = [("a.2", b"4", None), ("a.1", b"", "DEL")]
        # Between what was there and what came lies nothing.
        now = [("a.1", b"2", None), ("b", b"3", None), None]
        assert await seen(everything, 5) == now + later
        before = [("a.1", b"1", None), ("a.1", b"2", None), None]
        assert await seen(some, 5) == before + later
        await asyncio.gather(everything.stop(), some.stop())


@case
async def keys_expire_and_leave_a_marker():
    async with jetstream() as js:
        bucket = await js.create_key_value(bucket="B", history=2, limit_marker_ttl=3)
        await bucket.create("short", b"1", msg_ttl=3)
        watcher = await bucket.watch("short")
        first = await watcher.updates(timeout=PATIENCE)
        assert (first.value, first.operation) == (b"1", None), first
        assert await watcher.updates(timeout=PATIENCE) is None
        marker = await watcher.updates(timeout=PATIENCE)
        assert marker.operation == "PURGE", marker
        await watcher.stop()


@case
async def a_bucket_is_mirrored():
    async with jetstream() as js:
        origin = await js.create_key_value(bucket="B", history=2)
        await js.add_stream(
            name="KV_M",
            mirror=api.StreamSource(name="KV_B"),
            max_msgs_per_subject=2,
            allow_direct=True,
            mirror_direct=True,
        )
        for at in range(50):
            await origin.put(f"k{at}", str(at).encode())

        async def all_there():
            return (await js.stream_info("KV_M")).state.messages == 50

        await eventually("the mirror", all_there)
        message = await js.get_msg("KV_M", subject="$KV.B.k7", direct=True)
        assert message.data == b"7", message
        assert (await js.stream_info("KV_M")).mirror.name == "KV_B"


def pattern(size):
    """Bytes in which no two chunks are alike."""
    return b"".join(hashlib.sha256(at.to_bytes(8, "big")).digest() for at in range(size // 32))


@case
async def objects():
    async with jetstream() as js:
        bucket = await js.create_object_store("O")
        large, small = pattern(16 << 20), b"small"
        info = await bucket.put("large", io.BytesIO(large))
        assert (info.size, info.chunks) == (16 << 20, 128), info
        await bucket.put("dir/small", small)
        await bucket.put("empty", b"")
        found = await bucket.get("large")
        assert found.data == large and found.info.digest == info.digest
        assert (await bucket.get("dir/small")).data == small
        assert (await bucket.get("empty")).data == b""
        assert {it.name for it in await bucket.list()} == {"large", "dir/small", "empty"}
        target = api.ObjectLink(bucket="O", name="dir/small")
        link = api.ObjectMetaOptions(link=target, max_chunk_size=1 << 17)
        await bucket.put("link", b"", meta=api.ObjectMeta(name="link", options=link))
        await bucket.put("dir/small", b"changed")
        for name in ["dir/small", "link"]:
            assert (await bucket.get(name)).data == b"changed"
        watcher = await bucket.watch()
        names = []
        while (seen := await watcher.updates(timeout=PATIENCE)) is not None:
            names.append(seen.name)
        assert sorted(names) == ["dir/small", "empty", "large", "link"], names
        before = (await bucket.status()).size
        await bucket.delete("large")
        gone = await watcher.updates(timeout=PATIENCE)
        assert gone.deleted and gone.name == "large", gone
        await watcher.stop()
        assert (await bucket.status()).size < before - (16 << 20)
        try:
            await bucket.get("large")
            raise AssertionError("deleted, and found")
        except errors.ObjectNotFoundError:
            pass
        await bucket.seal()
        assert (await bucket.status()).sealed
        async with refused(10109):
            await bucket.put("more", small)
        assert await js.delete_object_store("O")


@case
async def services_are_found_asked_and_counted():
    async with Server() as server:
        one, asker = await Client.to(server), await Client.to(server)

        async def double(request):
            if not request.data:
                return await request.respond_error("400", "nothing to double")
            await request.respond(request.data * 2, headers={"From": "one"})

        options = {"name": "math", "version": "1.2.3", "description": "sums"}
        service = await nats.micro.add_service(one.nats, **options)
        await service.add_endpoint(name="double", handler=double)
        await service.add_group(name="more").add_endpoint(name="double", handler=double)
        await one.settle()
        for subject in ["double", "more.double"]:
            answer = await asker.nats.request(subject, b"12", timeout=PATIENCE)
            assert (answer.data, answer.headers["From"]) == (b"1212", "one"), answer
        refusal = await asker.nats.request("double", b"", timeout=PATIENCE)
        assert refusal.headers["Nats-Service-Error-Code"] == "400", refusal.headers
        for verb, kind in [("PING", "ping"), ("INFO", "info"), ("STATS", "stats")]:
            for subject in [f"$SRV.{verb}", f"$SRV.{verb}.math", f"$SRV.{verb}.math.{service.id}"]:
                answer = await asker.nats.request(subject, timeout=PATIENCE)
                said = json.loads(answer.data)
                assert said["type"] == f"io.nats.micro.v1.{kind}_response", said
                assert (said["name"], said["version"]) == ("math", "1.2.3"), said
        counts = {it["subject"]: it["num_requests"] for it in said["endpoints"]}
        assert counts == {"double": 2, "more.double": 1}, counts
        await service.stop()
        await asyncio.gather(one.nats.close(), asker.nats.close())
