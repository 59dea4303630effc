"""A connection that remembers what it told its application, and the list of cases."""

import nats

from server import PATIENCE, wait_until

CASES = []


def case(function):
    CASES.append(function)
    return function


class Client:
    """A connection and what it told its application."""

    @classmethod
    async def to(cls, server, **options):
        self = cls()
        self.errors, self.happened = [], []
        self.nats = await nats.connect(
            server.url,
            error_cb=self._error,
            disconnected_cb=self._event("disconnected"),
            reconnected_cb=self._event("reconnected"),
            closed_cb=self._event("closed"),
            lame_duck_mode_cb=self._event("lame duck"),
            reconnect_time_wait=0.01,
            connect_timeout=PATIENCE,
            max_reconnect_attempts=options.pop("max_reconnect_attempts", -1),
            **options,
        )
        return self

    async def _error(self, error):
        self.errors.append(str(error))

    def _event(self, name):
        async def happened():
            self.happened.append(name)

        return happened

    async def event(self, name):
        await wait_until(name, lambda: name in self.happened)

    async def error(self, part):
        matches = lambda: any(part.lower() in error.lower() for error in self.errors)
        await wait_until(f"{part!r} in {self.errors}", matches)

    async def subscribe(self, subject, **options):
        subscription = await self.nats.subscribe(subject, **options)
        await self.settle()
        return subscription

    async def publish(self, subject, payload="", **options):
        await self.nats.publish(subject, payload.encode(), **options)

    async def settle(self):
        """Returns when the server has acted on all that was sent.

        `flush` does not tell: its PING overtakes commands that wait in the client. So a message of
        its own has to come back.
        """
        inbox = self.nats.new_inbox()
        echo = await self.nats.subscribe(inbox)
        await self.nats.publish(inbox, b"")
        await receive(echo)
        await echo.unsubscribe()


async def receive(subscription):
    return await subscription.next_msg(timeout=PATIENCE)


async def texts(subscription, count):
    return [(await receive(subscription)).data.decode() for _ in range(count)]
