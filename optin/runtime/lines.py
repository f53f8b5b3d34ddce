"""One HTTP connection to a server that is not trusted, kept open for several requests."""

import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote, urlsplit

from optin.runtime import outside

_AS_IT_IS = "!#$%&'()*+,/:;=?@[]~"  # in an address; all else that is not a letter is encoded

Dial = Callable[[str, int, float], socket.socket]
"""Connects to a port of a host, within so many seconds after its name was looked up."""


class NoAnswer(Exception):
    """No status came. Its words say why, and hold nothing of the address."""


class Line:
    """A connection that is opened with the first request. No proxy comes from the environment.

    A socket's time-out begins again with each byte, and looking a name up has none. So a thread
    makes each request, and the caller closes the connection when the time is up.
    """

    def __init__(
        self,
        url: str,
        trust: ssl.SSLContext,
        *,
        who: str,
        patience: float,
        excerpt: int,
        dial: Dial = outside.dial,
    ) -> None:
        """
        :param who: the server, as faults name it.
        :param patience: seconds for a request, with its connection, if it needs a new one.
        :param excerpt: bytes of an answer that are read.
        """
        parts = urlsplit(url)
        path = parts._replace(scheme="", netloc="", path=parts.path or "/").geturl()
        self._target = quote(path, safe=_AS_IT_IS)
        self._connection = _Connection(
            parts.hostname or "", parts.port, trust if parts.scheme == "https" else None
        )
        self._connection.dial, self._connection.patience = dial, patience
        self._who, self._patience, self._excerpt = who, patience, excerpt
        self._status, self._answer, self._failure = 0, b"", ""
        self.retry_after = ""
        """This header of the last answer."""
        self._thread: threading.Thread | None = None

    @property
    def may_be_heard(self) -> bool:
        """Whether a request may have gone out."""
        return self._connection.is_open

    def post(self, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes | None]:
        """Return the status, and the beginning of the answer: None if it did not come in time.

        :raises NoAnswer: if there was no status in time.
        """
        self._status, self._answer, self._failure = 0, b"", ""
        self.retry_after = ""
        self._thread = threading.Thread(
            target=self._post, args=[headers, body], name="line", daemon=True
        )
        self._thread.start()
        self._thread.join(self._patience)
        late = self._thread.is_alive()
        # Read before closing: closing cuts the answer short, and it would look complete.
        status, answer, failure = self._status, self._answer, self._failure
        if late:
            self.close()
        if status:
            return status, None if late else answer
        if late:
            failure = f"{self._who} did not answer within {self._patience:.2g} seconds"
        raise NoAnswer(failure)

    def close(self) -> None:
        """Close the connection, also during a request. After this, no request is possible."""
        self._connection.hang_up()
        if not (self._thread and self._thread.is_alive()):  # if it runs, it closes it
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
        except ssl.SSLCertVerificationError:
            self._failure = f"{self._who} could not be reached (its certificate is not valid)"
        # Their words may hold the address, which may hold a secret.
        except OSError as exc:
            self._failure = f"{self._who} could not be reached ({type(exc).__name__})"
        except Exception as exc:  # whatever an answer does to the client
            self._failure = f"{self._who} gave no answer in HTTP ({type(exc).__name__})"
        finally:
            if self._connection.is_over:
                self._connection.close()

    def _exchange(self, headers: Mapping[str, str], body: bytes) -> None:
        self._connection.request("POST", self._target, body, dict(headers))
        response = self._connection.getresponse()
        self.retry_after = response.getheader("Retry-After", "").strip()
        self._status = response.status
        self._answer = response.read(self._excerpt)
        if not response.isclosed():  # there is more, which nobody reads
            self._connection.close()


class _Connection(HTTPConnection):
    """Can be hung up from another thread."""

    dial: Dial
    patience: float

    def __init__(self, host: str, port: int | None, trust: ssl.SSLContext | None) -> None:
        self.default_port = 443 if trust else 80
        # With a port, the end of an IPv6 address is not taken for one.
        super().__init__(host, port or self.default_port)
        self._trust = trust
        self._lock = threading.Lock()
        self.is_open = self.is_over = False
        self._line: socket.socket | None = None

    def connect(self) -> None:
        line = self.dial(self.host, self.port, self.patience)
        with self._lock:
            if self.is_over:
                line.close()
                raise OSError("the call is over")
            self._let_go()
            # A duplicate, since TLS takes the original over.
            self._line = line.dup()
        # Longer: whoever is late is hung up on as a whole, and said to be late.
        line.settimeout(self.patience + 1)
        # The head and the body go out in two parts. Otherwise the second would wait for the other
        # side to acknowledge the first, which it puts off.
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = (
            self._trust.wrap_socket(line, server_hostname=self.host) if self._trust else line
        )
        self.is_open = True

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
