"""One request: what comes back, and the sentence for what does not."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import pytest
from served import Served, picture, serving

from wsloc.files import http_get as http_get_module
from wsloc.files.http_get import FetchError, GetLimits, http_get

AMPLE = GetLimits(60, 10**6)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as running:
        yield running


@pytest.mark.parametrize("path", ["/7.png", "/to/7.png", "/to/5/7.png", "/7.png#here"])
def test_the_content_is_what_the_server_has(served: Served, path: str) -> None:
    assert http_get(served.url + path, AMPLE) == picture(7)
    assert http_get("HTTP" + served.url[4:] + path, AMPLE) == picture(7)


@pytest.mark.parametrize(
    ("path", "sentence", "may_pass"),
    [
        ("/none.png", "the server answered 404 Not Found", False),
        ("/busy/2/1.png", "the server answered 503 Service Unavailable", True),
        ("/loud", "the server answered 404 Not Found", False),
        ("/to/file", "the server redirects to what is not an http or https address", False),
        ("/to/ftp", "the server redirects to what is not an http or https address", False),
        ("/to/loop", "the server redirects more than 5 times", False),
        ("/to/6/1.png", "the server redirects more than 5 times", False),
        ("/announced", "the content is larger than 976.6 KiB", False),
        ("/endless", "the content is larger than 976.6 KiB", False),
        ("/cut", f"the connection ended after {len(picture(1)):,} of {len(picture(1)) + 100:,} bytes", True),
        ("/nothing", "the connection broke: Remote end closed connection without response", True),
        ("/a é.png", "the server answered 404 Not Found", False),
    ],
)
def test_what_a_server_can_do_has_a_sentence(served: Served, path: str, sentence: str, may_pass: bool) -> None:
    with pytest.raises(FetchError) as found:
        http_get(served.url + path, AMPLE)
    assert (str(found.value), found.value.may_pass) == (sentence, may_pass)


def test_other_scripts_are_escaped_and_proxies_asked(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", served.url)
    with pytest.raises(FetchError, match="404"):
        http_get("http://exämple.invalid:80/ä b%20.png?q=é#x", AMPLE)
    assert list(served.asked) == ["http://xn--exmple-cua.invalid:80/%C3%A4%20b%20.png?q=%C3%A9"]


def test_a_redirect_to_what_should_have_been_escaped_leads_there(served: Served) -> None:
    with pytest.raises(FetchError, match="404"):
        http_get(f"{served.url}/to/bytes", AMPLE)
    assert list(served.asked) == ["/to/bytes", "/%C3%A4%20b"]


def test_certificates_are_read_once_for_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    made, own = [], ssl.create_default_context

    def counted() -> ssl.SSLContext:
        made.append(1)
        return own()

    monkeypatch.setattr(ssl, "create_default_context", counted)
    http_get_module._certificates.cache_clear()
    for _ in range(3):
        with pytest.raises(FetchError, match=r"^the server cannot be reached: "):
            http_get("https://127.0.0.1:1/a.png", AMPLE)
    assert len(made) == 1


@pytest.mark.parametrize("what", ["headers", "content"])
def test_a_server_that_sends_a_byte_now_and_then_runs_into_the_limit(served: Served, what: str) -> None:
    with pytest.raises(FetchError, match=r"^there was no whole answer within 0\.5 seconds$"):
        http_get(f"{served.url}/drip/{what}", GetLimits(0.5, 10**6))


def test_a_server_that_says_nothing_runs_into_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(FetchError, match=r"^there was no whole answer within 0\.2 seconds$"):
            http_get(f"http://127.0.0.1:{port}/1.png", GetLimits(0.2, 10**6))
    with pytest.raises(FetchError, match=r"^the server cannot be reached: "):
        http_get(f"http://127.0.0.1:{port}/1.png", AMPLE)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("file:///etc/passwd", "it is not an http or https address"),
        ("ftp://a.b/c.png", "it is not an http or https address"),
        ("data:image/png;base64,xx", "it is not an http or https address"),
        ("/etc/passwd", "it is not an http or https address"),
        ("", "it is not an http or https address"),
        ("http://", "it is not an address|the server cannot be reached"),
        ("http://[::1/a.png", "it is not an address"),
        ("http://a.b:port/c.png", "it is not an address"),
        ("http://a..b/c\r\nHost: evil.png", "it is not an address|the server cannot be reached"),
        (f"http://{'a' * 70}.é/c.png", "it is not an address"),
    ],
)
def test_what_is_no_web_address(url: str, sentence: str) -> None:
    with pytest.raises(FetchError, match=f"^({sentence})"):
        http_get(url, AMPLE)
