"""One HTTPS connection to the server of a client, kept open for several requests.

``outside`` chooses the address each time the connection is opened.
"""

import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException, HTTPSConnection
from urllib.parse import quote, urlsplit

from optin.runtime import outside

_AS_IT_IS = "!#$%&'()*+,/:;=?@[]~"  # in an address; all else that is not a letter is encoded


class NoAnswer(Exception):
    """No status came. Its words say why, and hold nothing of the address."""


class Line:
    """A connection that is opened with the first request.

    The time-outs of sockets are for each byte anew, and none is for looking a name up. So a thread
    of its own makes each request, and this one hangs up on it.
    """

    def __init__(self, url: str, context: ssl.SSLContext, *, patience: float, excerpt: int) -> None:
        """
        :param patience: seconds for a request, with its connection, if it needs a new one.
        :param excerpt: bytes of an answer that are read.
        """
        parts = urlsplit(url)
        path = parts._replace(scheme="", netloc="", path=parts.path or "/").geturl()
        self._target = quote(path, safe=_AS_IT_IS)
        self._connection = _Connection(parts.hostname or "", parts.port or 443, context, patience)
        self._patience = patience
        self._excerpt = excerpt
        self._status, self._answer, self._failure = 0, b"", ""
        self._thread: threading.Thread | None = None

    def post(self, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Return the status, and the beginning of the answer: nothing if it was too slow.

        :raises NoAnswer: if there was no status in time.
        """
        self._status, self._answer, self._failure = 0, b"", ""
        self._thread = threading.Thread(
            target=self._post, args=[headers, body], name="webhook-line", daemon=True
        )
        self._thread.start()
        self._thread.join(self._patience)
        late = self._thread.is_alive()
        # Before hanging up: an answer that breaks off then would pass for a whole one.
        status, answer, failure = self._status, self._answer, self._failure
        if late:
            self.close()
        if status:
            return status, b"" if late else answer
        if late:
            failure = f"the endpoint did not answer within {self._patience:.2g} seconds"
        raise NoAnswer(failure)

    def close(self) -> None:
        """Hang up, also on a request that is under way. None can follow."""
        self._connection.hang_up()
        if not (self._thread and self._thread.is_alive()):  # otherwise it does so itself
            self._connection.close()

    def _post(self, headers: Mapping[str, str], body: bytes) -> None:
        is_kept = self._connection.sock is not None
        try:
            try:
                self._exchange(headers, body)
            except (OSError, HTTPException):
                # The server may have closed it since the answer before.
                if self._status or not is_kept:
                    raise
                self._connection.close()
                self._exchange(headers, body)
        except (outside.NotPublic, outside.Unresolved) as exc:
            self._failure = str(exc)
        except Exception as exc:
            # Whatever an answer does to the client. Its words may hold the address, which may hold
            # a secret.
            why = type(exc).__name__
            if isinstance(exc, ssl.SSLCertVerificationError):
                why = "its certificate is not valid"
            self._failure = f"the endpoint could not be reached ({why})"
        finally:
            if self._connection.is_over:
                self._connection.close()

    def _exchange(self, headers: Mapping[str, str], body: bytes) -> None:
        self._connection.request("POST", self._target, body, dict(headers))
        response = self._connection.getresponse()
        self._status = response.status
        self._answer = response.read(self._excerpt)
        if not response.isclosed():  # there is more, which nobody reads
            self._connection.close()


class _Connection(HTTPSConnection):
    """Connects as ``outside`` says, and can be hung up from another thread."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, patience: float) -> None:
        super().__init__(host, port, context=context)
        self._trust = context
        self._patience = patience
        self._lock = threading.Lock()
        self.is_over = False
        self._line: socket.socket | None = None

    def connect(self) -> None:
        line = outside.dial(self.host, self.port, self._patience)
        with self._lock:
            if self.is_over:
                line.close()
                raise OSError("the call is over")
            self._let_go()
            # A duplicate, since TLS takes the original over.
            self._line = line.dup()
        # Longer: whoever is late is hung up on as a whole, and said to be late.
        line.settimeout(self._patience + 1)
        # The head and the body go out in two parts. Otherwise the second would wait for the other
        # side to acknowledge the first, which it puts off.
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._trust.wrap_socket(line, server_hostname=self.host)

    def hang_up(self) -> None:
        with self._lock:
            self.is_over = True
            self._let_go()

    def _let_go(self) -> None:
        if self._line:
            with suppress(OSError):  # where the server did first
                self._line.shutdown(socket.SHUT_RDWR)
            self._line.close()
            self._line = None
