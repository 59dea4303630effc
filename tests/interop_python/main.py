"""The official Python client against the real executable, named by RAMJET_TEST_SERVER.

`python main.py [CASE...]` runs the cases, or those named; `cargo test --test interop_python` makes
the virtual environment first.
"""

import asyncio
import os
import ssl
import sys
import traceback

import nats
import nkeys
from nats.errors import MaxPayloadError, NoRespondersError

import jetstream  # noqa: F401 (its cases)
from client import CASES, Client, case, receive, texts
from server import PATIENCE, Server, wait_until

# "secret", at the lowest cost.
BCRYPT_SECRET = "$2a$04$oX4zw6.H.xUApK8e4iFx..v.zJjN6hZnpM4IVqPUzjGkg782Zutnm"

async def admits(server, **options):
    """Whether `options` are let in; the only refusal it knows is the server's."""
    try:
        client = await Client.to(server, allow_reconnect=False, **options)
    except nats.errors.Error as error:
        assert "authorization violation" in str(error).lower(), repr(error)
        return False
    await client.settle()
    await client.nats.close()
    return True


@case
async def publishes_and_subscribes_in_order():
    async with Server() as server:
        one, other = await Client.to(server), await Client.to(server)
        subscription = await one.subscribe("orders.new")
        expected = [str(index) for index in range(1000)]
        for text in expected:
            await other.publish("orders.new", text)
        assert await texts(subscription, 1000) == expected
        await asyncio.gather(one.nats.close(), other.nats.close())


@case
async def wildcards_match_by_token():
    async with Server() as server:
        one, other = await Client.to(server), await Client.to(server)
        partial, full = await one.subscribe("a.*.c"), await one.subscribe("a.>")
        for subject in ["a", "a.b", "a.b.c", "a.b.c.d", "b.b.c", "a.last.c"]:
            await other.publish(subject)
        subjects = [(await receive(full)).subject for _ in range(4)]
        assert subjects == ["a.b", "a.b.c", "a.b.c.d", "a.last.c"], subjects
        subjects = [(await receive(partial)).subject for _ in range(2)]
        assert subjects == ["a.b.c", "a.last.c"], subjects
        await asyncio.gather(one.nats.close(), other.nats.close())


@case
async def a_queue_group_shares_messages():
    async with Server() as server:
        publisher = await Client.to(server)
        received = [[], [], []]

        def keep(mine):
            async def handle(message):
                mine.append(message.data.decode())

            return handle

        members = [await Client.to(server) for _ in received]
        for member, mine in zip(members, received):
            await member.subscribe("work", queue="workers", cb=keep(mine))
        for index in range(300):
            await publisher.publish("work", str(index))
        await publisher.settle()
        for member in members:
            await member.nats.drain()
        assert all(received), "a member without work"
        everything = sorted(int(text) for mine in received for text in mine)
        assert everything == list(range(300)), everything
        await publisher.nats.close()


@case
async def requests_are_answered():
    async with Server() as server:
        service, asker = await Client.to(server), await Client.to(server)

        async def double(request):
            await request.respond(request.data * 2)

        await service.subscribe("double", cb=double)
        for index in range(100):
            reply = await asker.nats.request("double", str(index).encode(), timeout=PATIENCE)
            assert reply.data.decode() == f"{index}{index}", reply.data
        await asyncio.gather(service.nats.close(), asker.nats.close())


@case
async def a_request_nobody_hears_fails_at_once():
    async with Server() as server:
        client = await Client.to(server)
        try:
            reply = await client.nats.request("nobody", b"", timeout=PATIENCE)
            raise AssertionError(f"answered: {reply}")
        except NoRespondersError:
            pass
        await client.nats.close()


@case
async def headers_arrive_as_sent():
    async with Server() as server:
        one, other = await Client.to(server), await Client.to(server)
        subscription = await one.subscribe("h")
        headers = {"Trace": "1", "Content-Type": "text/plain"}
        await other.publish("h", "body", headers=headers)
        message = await receive(subscription)
        assert message.headers == headers, message.headers
        assert message.data == b"body", message.data
        await asyncio.gather(one.nats.close(), other.nats.close())


@case
async def drain_delivers_what_is_under_way():
    async with Server() as server:
        one, other = await Client.to(server), await Client.to(server)
        received = []

        async def keep(message):
            received.append(int(message.data))

        await one.subscribe("d", cb=keep)
        for index in range(500):
            await other.publish("d", str(index))
        await other.settle()
        await one.nats.drain()
        assert received == list(range(500)), received
        await one.event("closed")
        await other.nats.close()


@case
async def a_client_outlives_a_restart():
    async with Server() as first:
        one, other = await Client.to(first), await Client.to(first)
        subscription = await one.subscribe("r")
        port = first.port
    for client in (one, other):
        await client.event("disconnected")
    async with Server(port=port):
        for client in (one, other):
            await client.event("reconnected")
            await client.settle()
        await other.publish("r", "after")
        assert await texts(subscription, 1) == ["after"]
        await asyncio.gather(one.nats.close(), other.nats.close())


@case
async def lame_duck_is_announced_before_the_end():
    config = "lame_duck_duration: 30s, lame_duck_grace_period: 100ms"
    async with Server(config) as server:
        client = await Client.to(server)
        await client.settle()
        server.lame_duck()
        await client.event("lame duck")
        await client.event("disconnected")
        assert await server.exit_code() == 0
        await client.nats.close()


@case
async def permission_violations_reach_the_application():
    config = """authorization { users: [ { user: u, password: p, permissions: {
        publish: { allow: ["ok.>", "_INBOX.>"] }, subscribe: { deny: "secret" } } } ] }"""
    async with Server(config) as server:
        client = await Client.to(server, user="u", password="p")
        await client.publish("no.thing")
        await client.error('Permissions Violation for Publish to "no.thing"')
        await client.nats.subscribe("secret")
        await client.error('Permissions Violation for Subscription to "secret"')
        subscription = await client.subscribe("ok.a")
        await client.publish("ok.a", "still here")
        assert await texts(subscription, 1) == ["still here"]
        await client.nats.close()


@case
async def user_and_password_are_checked():
    async with Server("authorization { user: u, password: p }") as server:
        assert await admits(server, user="u", password="p")
        assert not await admits(server, user="u", password="wrong")
        assert not await admits(server, user="other", password="p")
        assert not await admits(server)


@case
async def a_token_is_checked():
    async with Server("authorization { token: t0ken }") as server:
        assert await admits(server, token="t0ken")
        assert not await admits(server, token="other")
        assert not await admits(server)


@case
async def a_bcrypt_password_is_checked():
    config = f'authorization {{ user: u, password: "{BCRYPT_SECRET}" }}'
    async with Server(config) as server:
        assert await admits(server, user="u", password="secret")
        assert not await admits(server, user="u", password="wrong")
        assert not await admits(server, user="u", password=BCRYPT_SECRET)


@case
async def an_nkey_is_checked():
    def new_seed():
        return nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)

    known = new_seed()
    public = nkeys.from_seed(bytearray(known)).public_key.decode()
    async with Server(f"authorization {{ users: [ {{ nkey: {public} }} ] }}") as server:
        assert await admits(server, nkeys_seed_str=known.decode())
        assert not await admits(server, nkeys_seed_str=new_seed().decode())
        assert not await admits(server)


@case
async def the_payload_limit_is_told_and_kept():
    async with Server("max_payload: 1024") as server:
        client = await Client.to(server)
        assert client.nats.max_payload == 1024, client.nats.max_payload
        subscription = await client.subscribe("p")
        try:
            await client.publish("p", "x" * 1025)
            raise AssertionError("too large, and taken")
        except MaxPayloadError:
            pass
        await client.publish("p", "x" * 1024)
        assert len((await receive(subscription)).data) == 1024
        await client.nats.close()


def trusting(certificate=False):
    """TLS that trusts the authority of these cases, and may show a certificate of it."""
    context = ssl.create_default_context(cafile=os.environ["RAMJET_TEST_CA"])
    if certificate:
        context.load_cert_chain(
            os.environ["RAMJET_TEST_CLIENT_CERT"], os.environ["RAMJET_TEST_CLIENT_KEY"]
        )
    return context


def tls(more=""):
    cert, key = os.environ["RAMJET_TEST_CERT"], os.environ["RAMJET_TEST_KEY"]
    return f'tls {{ cert_file: "{cert}", key_file: "{key}", {more} }}'


async def echoes(client):
    subscription = await client.subscribe("echo")
    for payload in ["small", "large" * 100000]:
        await client.publish("echo", payload)
        assert (await receive(subscription)).data.decode() == payload
    await client.nats.close()


@case
async def tls_before_and_after_info():
    for first in [False, True]:
        async with Server(tls(f"handshake_first: {str(first).lower()}")) as server:
            options = {"tls": trusting(), "tls_handshake_first": first}
            await echoes(await Client.to(server, **options))


@case
async def a_certificate_is_asked_for():
    config = tls(f'verify: true, ca_file: "{os.environ["RAMJET_TEST_CA"]}"')
    async with Server(config) as server:
        await echoes(await Client.to(server, tls=trusting(certificate=True)))
        try:
            refused = await Client.to(server, tls=trusting(), allow_reconnect=False)
            await refused.settle()
            raise AssertionError("without a certificate, and let in")
        except (nats.errors.Error, OSError):
            pass


@case
async def websocket_with_and_without_tls():
    listen = 'listen: "127.0.0.1:-1"'
    async with Server(f"websocket {{ {listen}, no_tls: true }}") as server:
        server.url = server.listener("websocket")
        await echoes(await Client.to(server))
    async with Server(f"websocket {{ {listen}, {tls()} }}") as server:
        server.url = server.listener("websocket").replace("127.0.0.1", "localhost")
        await echoes(await Client.to(server, tls=trusting()))


def main(names):
    unknown = set(names) - {run.__name__ for run in CASES}
    if unknown:
        sys.exit(f"no such case: {', '.join(sorted(unknown))}")
    failed = []
    for run in CASES:
        if names and run.__name__ not in names:
            continue
        try:
            asyncio.run(asyncio.wait_for(run(), 4 * PATIENCE))
            print(f"{run.__name__} ... ok", flush=True)
        except Exception:
            traceback.print_exc(file=sys.stdout)
            print(f"{run.__name__} ... FAILED", flush=True)
            failed.append(run.__name__)
    if failed:
        sys.exit(f"{len(failed)} failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
