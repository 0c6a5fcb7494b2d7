"""What a server answers to one request, with limits to its time, its size and where it may lead."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from wsloc import __version__
from wsloc.errors import ItemError, one_line
from wsloc.files.room import in_units

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_BUSY = (429, 500, 502, 503, 504)
_CHUNK = 2**16
_SAFE = "%/:=&?~#+!$,;'@()*[]"
"""What may stand in a URL as it is; anything else is escaped."""


@dataclass(frozen=True, slots=True)
class GetLimits:
    """What one answer may take.

    Attributes:
        seconds: from the first connection to the last byte, redirects among them.
        max_bytes: of the content.
    """

    seconds: float
    max_bytes: int


class FetchError(ItemError):
    """Why there is no content, in one sentence.

    Attributes:
        may_pass: whether the same request may do better later.
    """

    def __init__(self, sentence: str, *, may_pass: bool = False) -> None:
        """The sentence begins without a capital letter and ends without a full stop."""
        super().__init__(sentence)
        self.may_pass = may_pass


def is_web_address(text: str) -> bool:
    """Whether a text is an http or https address."""
    return text.lower().startswith(("http://", "https://"))


def http_get(url: str, limits: GetLimits) -> bytes:
    """The content at an address, by http or https alone, through the proxies that the environment names.

    Raises:
        FetchError: if the server cannot be reached, answers anything but 200, leads elsewhere than to http and https,
            or more often than five times, or exceeds the limits.
    """
    if not is_web_address(url):
        raise FetchError("it is not an http or https address")
    deadline = time.monotonic() + limits.seconds
    try:
        for _ in range(_MAX_REDIRECTS + 1):
            with _opener(deadline).open(_request(url), timeout=limits.seconds) as answer:
                if answer.status in _REDIRECTS and answer.headers["Location"]:
                    # Read as Latin-1, which gives the bytes back that servers should have escaped.
                    url = urljoin(url, quote(answer.headers["Location"], _SAFE, encoding="latin-1"))
                    if not is_web_address(url):
                        raise FetchError("the server redirects to what is not an http or https address")
                    continue
                if answer.status != 200:
                    # Not what the server calls it, which would go to a terminal.
                    named = f"{answer.status} {http.client.responses.get(answer.status, '')}".strip()
                    raise FetchError(f"the server answered {named}", may_pass=answer.status in _BUSY)
                return _content(answer, limits.max_bytes)
    except TimeoutError as error:
        raise FetchError(f"there was no whole answer within {limits.seconds:g} seconds") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise FetchError(f"there was no whole answer within {limits.seconds:g} seconds") from error
        raise FetchError(f"the server cannot be reached: {error.reason}") from error
    except (ValueError, http.client.InvalidURL) as error:
        raise FetchError(f"it is not an address: {one_line(error)}") from error
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"the connection broke: {one_line(error) or type(error).__name__}", may_pass=True) from error
    raise FetchError(f"the server redirects more than {_MAX_REDIRECTS} times")


def _request(url: str) -> urllib.request.Request:
    parts = urlsplit(url)
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
    clean = parts._replace(netloc=host, path=quote(parts.path, _SAFE), query=quote(parts.query, _SAFE), fragment="")
    return urllib.request.Request(urlunsplit(clean), headers={"User-Agent": f"wsloc/{__version__}"})


def _content(answer: Any, max_bytes: int) -> bytes:
    length: int | None = answer.length
    content = bytearray()
    while length is None or length <= max_bytes:
        chunk = answer.read(_CHUNK)
        content += chunk
        if len(content) > max_bytes:
            break
        if not chunk:
            if length is not None and len(content) < length:
                raise FetchError(f"the connection ended after {len(content):,} of {length:,} bytes", may_pass=True)
            return bytes(content)
    raise FetchError(f"the content is larger than {in_units(max_bytes)}")


def _opener(deadline: float) -> urllib.request.OpenerDirector:
    """What opens http and https, and neither files nor anything else; redirects and errors are answers like others."""
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler(), _Handler(deadline)):
        opener.add_handler(handler)
    return opener


class _Handler(urllib.request.AbstractHTTPHandler):
    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Connection, deadline=self._deadline), request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        connection = partial(_SecureConnection, deadline=self._deadline, context=_certificates())
        return self.do_open(connection, request)


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes longer than most images."""
    return ssl.create_default_context()


class _Connection(http.client.HTTPConnection):
    def __init__(self, *given: Any, deadline: float, **named: Any) -> None:
        super().__init__(*given, **named)
        self._deadline = deadline

    def connect(self) -> None:
        self.timeout = _left(self._deadline)
        super().connect()
        self.sock = _TimedSocket(self.sock, self._deadline)


class _SecureConnection(_Connection, http.client.HTTPSConnection):
    """In this order, so that the socket is timed above its encryption."""


class _TimedSocket:
    """As much of a socket as a connection uses. A timeout of a socket is of each piece: one that sends a byte now and
    then would never run into it."""

    def __init__(self, own: socket.socket, deadline: float) -> None:
        self._own, self._deadline = own, deadline

    def sendall(self, data: bytes) -> None:
        self._own.settimeout(_left(self._deadline))
        self._own.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._own, self._deadline))

    def close(self) -> None:
        self._own.close()


class _TimedReader(io.RawIOBase):
    def __init__(self, own: socket.socket, deadline: float) -> None:
        self._own, self._deadline = own, deadline
        self._file = own.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._own.settimeout(_left(self._deadline))
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def _left(deadline: float) -> float:
    """Seconds until then.

    Raises:
        TimeoutError: if it is over.
    """
    if (left := deadline - time.monotonic()) <= 0:
        raise TimeoutError
    return left
