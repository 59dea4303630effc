"""A server process: started on a free port, found through its ports file, killed at the end."""

import asyncio
import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

EXECUTABLE = os.environ["RAMJET_TEST_SERVER"]

# How long any awaited thing may take. A passing case never waits for it.
PATIENCE = 30.0


async def wait_until(what, ready):
    """Polls `ready` until it gives something true, and returns that."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = ready()
        if found:
            return found
        await asyncio.sleep(0.002)
    raise AssertionError(f"waited in vain for {what}")


class Server:
    """`async with Server(config) as server`; `port` is -1 for a free one."""

    def __init__(self, config="", port=-1):
        self.directory = tempfile.mkdtemp(prefix="ramjet-interop-")
        path = os.path.join(self.directory, "server.conf")
        with open(path, "w") as file:
            file.write(config.replace("@DIR@", self.directory))
        self.arguments = [
            EXECUTABLE,
            *("-c", path),
            *("-a", "127.0.0.1", "-p", str(port)),
            *("--ports_file_dir", self.directory),
        ]

    async def __aenter__(self):
        with open(os.path.join(self.directory, "stderr.log"), "w") as log:
            self.process = subprocess.Popen(
                self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self.url = await wait_until("the ports file", self._url)
        except BaseException:
            await self.__aexit__(AssertionError, None, None)
            raise
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    async def __aexit__(self, kind, error, trace):
        self.process.kill()
        self.process.wait()
        if kind is not None:
            with open(os.path.join(self.directory, "stderr.log")) as log:
                print("--- server log ---", log.read(), sep="\n")
        shutil.rmtree(self.directory, ignore_errors=True)

    def listener(self, kind):
        """The first URL of a kind of listener."""
        (path,) = glob.glob(os.path.join(self.directory, f"*_{self.process.pid}.ports"))
        with open(path) as file:
            return json.load(file)[kind][0]

    def _url(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}")
        for path in glob.glob(os.path.join(self.directory, f"*_{self.process.pid}.ports")):
            with open(path) as file:
                try:
                    return json.load(file)["nats"][0]
                except ValueError:
                    return None  # half written
        return None

    def lame_duck(self):
        """Asks it to leave."""
        self.process.send_signal(signal.SIGUSR2)

    async def exit_code(self):
        """Waits for it to end by itself."""
        await wait_until("the server to exit", lambda: self.process.poll() is not None)
        return self.process.returncode
