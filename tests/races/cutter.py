"""A proxy before PostgreSQL that cuts connections where it is told."""

import asyncio
import random
import socket
from asyncio import Runner, StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from urllib.parse import urlsplit

from tests.kit.server import database_url


@dataclass
class Cutter:
    """Cuts the next connection on which something is said, in the middle of that."""

    host: str
    port: int
    wanted: set[str] = field(default_factory=set)
    """Whose words are cut next: "client", "server"."""
    cuts: int = 0

    async def link(self, client: StreamReader, to_client: StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(self.host, self.port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on("client", client, to_server))
                both.create_task(self._pass_on("server", server, to_client))
        except* OSError:
            pass
        finally:
            to_client.transport.abort()
            to_server.transport.abort()

    async def _pass_on(self, whose: str, said: StreamReader, to: StreamWriter) -> None:
        while words := await said.read(65536):
            if whose in self.wanted:
                self.wanted.discard(whose)
                self.cuts += 1
                to.write(words[: random.randrange(len(words))])
                break
            to.write(words)
        raise ConnectionAbortedError


@contextmanager
def cutter() -> Iterator[tuple[Cutter, str]]:
    """Give a proxy before the database of the tests, and its address."""
    address = urlsplit(database_url())
    proxy = Cutter(address.hostname or "", address.port or 5432)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        account = address.netloc.rpartition("@")[0]
        netloc = f"{account}@127.0.0.1:{listener.getsockname()[1]}"
        with Runner() as runner:
            over = runner.get_loop().create_future()

            async def serve() -> None:
                async with await asyncio.start_server(proxy.link, sock=listener):
                    await over

            thread = Thread(target=runner.run, args=[serve()])
            thread.start()
            try:
                yield proxy, address._replace(netloc=netloc).geturl()
            finally:
                runner.get_loop().call_soon_threadsafe(over.set_result, None)
                thread.join()
