"""A server on this machine that answers as servers do, and as they should not."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
from PIL import Image


def picture(seed: int, name: str = "PNG") -> bytes:
    """An image of 48 x 40 pixels, unlike that of any other seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, name)
    return content.getvalue()


class Served:
    """A running server.

    Attributes:
        url: of its root.
        asked: how often for each path.
    """

    def __init__(self, url: str) -> None:
        self.url, self.asked = url, Counter[str]()


@contextmanager
def serving() -> Iterator[Served]:
    """Serve until the block ends.

    ``/N.png`` and ``/N.jpg`` are images; ``/busy/K/N.png`` is one from the K-th request on; the other paths are below.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        served = Served(f"http://127.0.0.1:{server.server_port}")
        server.served = served  # type: ignore[attr-defined]
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield served
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        served: Served = self.server.served  # type: ignore[attr-defined]
        served.asked[self.path] += 1
        first, *rest = self.path.strip("/").split("/")
        try:
            if answer := getattr(self, f"_{first.replace('-', '_')}", None):
                answer(rest, served.asked[self.path])
            elif first.endswith((".png", ".jpg")) and first[:-4].isdigit():
                self._send(200, picture(int(first[:-4]), {".png": "PNG", ".jpg": "JPEG"}[first[-4:]]))
            else:
                self.send_error(404)
        except (BrokenPipeError, ConnectionResetError):
            pass  # they had enough

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _busy(self, rest: list[str], asked: int) -> None:
        self._send(200, picture(int(rest[1][:-4]))) if asked >= int(rest[0]) else self.send_error(503)

    def _to(self, rest: list[str], _asked: int) -> None:
        """Redirects: ``/to/3.png``, ``/to/file``, ``/to/loop``, ``/to/bytes``, ``/to/5/3.png``: five times."""
        target = {
            "file": "file:///etc/passwd",
            "ftp": "ftp://a.b/c.png",
            "loop": "/to/loop",
            "bytes": "/ä b".encode().decode("latin-1"),
        }.get(rest[0], "")
        if not target and len(rest) == 2:
            target = f"/to/{int(rest[0]) - 1}/{rest[1]}" if int(rest[0]) > 1 else f"/{rest[1]}"
        self._send(302, b"elsewhere", Location=target or f"/{rest[0]}")

    def _loud(self, _rest: list[str], _asked: int) -> None:
        self.send_response_only(404, "\x1b[31mGo away")
        self.end_headers()

    def _text(self, _rest: list[str], _asked: int) -> None:
        self._send(200, b"<html>Sign in to see this image.</html>")

    def _announced(self, _rest: list[str], _asked: int) -> None:
        self._send(200, b"", **{"Content-Length": str(10**12)})

    def _endless(self, _rest: list[str], _asked: int) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(bytes(2**16))

    def _cut(self, _rest: list[str], _asked: int) -> None:
        self._send(200, picture(1), **{"Content-Length": str(len(picture(1)) + 100)})

    def _nothing(self, _rest: list[str], _asked: int) -> None:
        self.close_connection = True

    def _drip(self, rest: list[str], _asked: int) -> None:
        """A byte now and then, of the headers or of the content, for a minute."""
        if rest == ["content"]:
            self.send_response(200)
            self.end_headers()
        for _ in range(1200):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.05)
