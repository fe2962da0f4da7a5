"""Remote images: fetched from public addresses only, however the caller tries to lead elsewhere."""

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from codexproxy.errors import BodyTooLarge, InvalidRequest
from codexproxy.protocol.request import Turn
from codexproxy.upstream.image_fetch import ImageFetcher, is_own_address, is_public_address, media_type
from codexproxy.upstream.image_inliner import Inliner, inlined
from tests.fakes.serving import serving
from tests.patience import patient

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
Reply = tuple[int, dict[str, str], bytes]


class Gallery(ThreadingHTTPServer):
    """Serves pictures by path and notes what it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Visitor)
        self.port = self.server_address[1]
        self.replies: dict[str, Reply | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[tuple[str, str]] = []


class Visitor(BaseHTTPRequestHandler):
    server: Gallery

    def do_GET(self) -> None:
        self.server.asked.append((self.headers["host"], self.path))
        reply = self.server.replies.get(self.path, (404, {}, b""))
        if callable(reply):
            reply(self)
            return
        status, headers, body = reply
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        return


@pytest.fixture
def gallery() -> Iterator[Gallery]:
    with serving(Gallery()) as server:
        yield server


class Names:
    """A resolver with names of its own, which counts how often it was asked."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = {name.replace("_", "."): list(found) for name, found in addresses.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host not in self.addresses:
            raise socket.gaierror("unknown")
        return self.addresses[host]


def fetcher(names: Names, **further: Any) -> ImageFetcher:
    # In these tests 127.0.0.1 plays the internet, and all else is as in earnest.
    return ImageFetcher(lambda address: address == "127.0.0.1" or is_public_address(address), resolve=names, **further)


def test_an_image_becomes_a_data_url_from_the_very_address_that_was_checked(gallery: Gallery) -> None:
    gallery.replies["/a.png"] = (200, {"content-type": "text/html"}, PNG)
    names = Names(pictures_example=["127.0.0.1"])
    url = fetcher(names).data_url(f"http://pictures.example:{gallery.port}/a.png")
    assert url == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert names.asked == ["pictures.example"]
    assert gallery.asked == [(f"pictures.example:{gallery.port}", "/a.png")]


def test_over_tls_the_server_must_prove_the_name_and_not_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        greetings: list[bytes] = []

        def listen() -> None:
            connection, _ = server.accept()
            with connection:
                greetings.append(connection.recv(4096))

        thread = threading.Thread(target=listen)
        thread.start()
        with pytest.raises(InvalidRequest, match="cannot be reached"):
            fetcher(Names(pictures_example=["127.0.0.1"])).data_url(
                f"https://pictures.example:{server.getsockname()[1]}/a.png"
            )
        thread.join(patient(10))
    assert b"pictures.example" in greetings[0]


FORBIDDEN = {
    "loopback": ["127.0.0.2"],
    "private": ["10.0.0.1"],
    "metadata service": ["169.254.169.254"],
    "one of several": ["127.0.0.1", "192.168.0.1"],
    "inside IPv6": ["::ffff:10.0.0.1"],
    "no address": [],
}


@pytest.mark.parametrize("addresses", FORBIDDEN.values(), ids=list(FORBIDDEN))
def test_a_name_that_leads_into_a_private_network_is_refused(gallery: Gallery, addresses: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="not public") as refusal:
        fetcher(Names(inner_example=addresses)).data_url(f"http://inner.example:{gallery.port}/a.png", "input[0].x")
    assert (refusal.value.code, refusal.value.param) == ("unsupported_content", "input[0].x")
    assert gallery.asked == []


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "2130706433", "0x7f.1", "localhost", "10.1.2.3"])
def test_addresses_in_any_spelling_are_judged_after_resolving(host: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be used"):
        ImageFetcher(is_public_address).data_url(f"http://{host}:1/a.png")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://pictures.example/a.png",
        "file:///etc/passwd",
        "http:///a.png",
        "http://user:pw@pictures.example/a.png",
        "http://pictures.example:99999/",
        "http://[::1/",
        "gopher://x",
        "",
    ],
)
def test_other_urls_are_refused_before_anything_is_resolved(url: str) -> None:
    names = Names(pictures_example=["127.0.0.1"])
    with pytest.raises(InvalidRequest):
        fetcher(names).data_url(url)
    assert names.asked == []


def test_a_redirect_is_checked_like_the_first_url(gallery: Gallery) -> None:
    names = Names(pictures_example=["127.0.0.1"], inner_example=["10.0.0.1"])
    gallery.replies = {
        "/in": (302, {"location": f"http://inner.example:{gallery.port}/secret"}, b""),
        "/file": (302, {"location": "file:///etc/passwd"}, b""),
        "/ok": (301, {"location": "/a.png"}, b""),
        "/loop": (302, {"location": "/loop"}, b""),
        "/a.png": (200, {}, PNG),
    }
    base = f"http://pictures.example:{gallery.port}"
    assert fetcher(names).data_url(f"{base}/ok").startswith("data:image/png;")
    for path in ("/in", "/file", "/loop"):
        with pytest.raises(InvalidRequest):
            fetcher(names).data_url(base + path)
    assert "/secret" not in [path for _, path in gallery.asked]
    assert [path for _, path in gallery.asked].count("/loop") == 4


def test_a_name_that_changes_after_the_check_changes_nothing(gallery: Gallery) -> None:
    gallery.replies["/a.png"] = (200, {}, PNG)

    class Rebinding(Names):
        def __call__(self, host: str, port: int) -> list[str]:
            found = super().__call__(host, port)
            self.addresses[host] = ["10.0.0.1"]
            return found

    url = fetcher(Rebinding(pictures_example=["127.0.0.1"])).data_url(f"http://pictures.example:{gallery.port}/a.png")
    assert url.startswith("data:image/png;")


def endless(visitor: BaseHTTPRequestHandler) -> None:
    visitor.send_response(200)
    visitor.end_headers()
    try:
        while True:
            visitor.wfile.write(PNG * 1000)
    except OSError:
        return


def test_an_image_without_an_end_is_cut_at_the_limit(gallery: Gallery) -> None:
    gallery.replies["/big"] = endless
    with pytest.raises(InvalidRequest, match="larger than 50000 bytes"):
        fetcher(Names(p=["127.0.0.1"]), max_bytes=50_000).data_url(f"http://p:{gallery.port}/big")


def silent(visitor: BaseHTTPRequestHandler) -> None:
    visitor.send_response(200)
    visitor.end_headers()
    visitor.connection.settimeout(patient(10))
    visitor.connection.recv(1)


def test_a_server_that_falls_silent_is_left(gallery: Gallery) -> None:
    gallery.replies["/silent"] = silent
    with pytest.raises(InvalidRequest, match=r"longer than 0\.3 seconds"):
        fetcher(Names(p=["127.0.0.1"]), timeout=0.3).data_url(f"http://p:{gallery.port}/silent")


def test_a_limit_that_the_socket_notices_first_is_called_by_its_name(gallery: Gallery) -> None:
    now = [0.0]

    def breaks_off_late(visitor: BaseHTTPRequestHandler) -> None:
        now[0] += 0.3

    gallery.replies["/late"] = breaks_off_late
    with pytest.raises(InvalidRequest, match=r"longer than 0\.3 seconds"):
        fetcher(Names(p=["127.0.0.1"]), timeout=0.3, clock=lambda: now[0]).data_url(f"http://p:{gallery.port}/late")


BAD: dict[str, Reply] = {
    "not found": (404, {}, b""),
    "a page": (200, {"content-type": "image/png"}, b"<html>"),
    "nothing": (200, {}, b""),
    "packed": (200, {"content-encoding": "gzip"}, b"\x1f\x8b" + PNG),
    "cut off": (200, {"content-length": "5000"}, PNG),
}


@pytest.mark.parametrize("reply", BAD.values(), ids=list(BAD))
def test_what_is_no_whole_image_is_refused(gallery: Gallery, reply: Reply) -> None:
    gallery.replies["/x"] = reply
    with pytest.raises(InvalidRequest):
        fetcher(Names(p=["127.0.0.1"])).data_url(f"http://p:{gallery.port}/x")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"<svg/>", None),
        (b"", None),
    ],
)
def test_kinds_are_told_by_the_first_bytes(data: bytes, kind: str | None) -> None:
    assert media_type(data) == kind


def test_remote_images_of_a_body_are_replaced_wherever_they_stand() -> None:
    image = {"type": "input_image", "image_url": "HTTP://p/a.png", "detail": "high"}
    kept = {"type": "input_image", "image_url": "data:image/png;base64,AA"}
    body = {
        "model": "m",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "http://p"}, image, kept]},
            {"type": "function_call_output", "output": [image]},
            {"role": "user", "content": "text"},
            "garbage",
        ],
    }
    seen: list[tuple[str, str]] = []

    def fetch(url: str, path: str) -> str:
        seen.append((url, path))
        return "data:x"

    found = inlined(body, fetch)
    assert found["input"][0]["content"][1] == {**image, "image_url": "data:x"}
    assert found["input"][0]["content"][2] == kept
    assert found["input"][1]["output"][0]["image_url"] == "data:x"
    assert found["input"][2:] == body["input"][2:]
    assert image["image_url"] == "HTTP://p/a.png"
    assert [path for _, path in seen] == ["input[0].content[1].image_url", "input[1].output[0].image_url"]
    assert inlined({"input": "text"}, fetch) == {"input": "text"}


def turn_with(*urls: str) -> Turn:
    parts = [{"type": "input_image", "image_url": url} for url in urls]
    return Turn("m", {"input": [{"type": "message", "role": "user", "content": parts}]})


def test_images_of_a_turn_become_data_each_fetched_once(gallery: Gallery) -> None:
    gallery.replies["/a.png"] = (200, {}, PNG)
    inline = Inliner(fetcher(Names(p=["127.0.0.1"])), 1_000_000)
    url = f"http://p:{gallery.port}/a.png"
    turn = inline(turn_with(url, "data:image/png;base64,AA==", url))
    urls = [part["image_url"] for part in turn.body["input"][0]["content"]]
    assert urls[0] == urls[2] and urls[0].startswith("data:image/png;base64,iVBOR")
    assert urls[1] == "data:image/png;base64,AA=="
    assert len(gallery.asked) == 1


def test_a_turn_without_remote_images_is_left_alone() -> None:
    turn = turn_with("data:image/png;base64,AA==")
    assert Inliner(fetcher(Names()), 10)(turn) is turn


def test_all_images_of_a_turn_together_have_a_bound(gallery: Gallery) -> None:
    gallery.replies |= {f"/a.png?{number}": (200, {}, PNG) for number in range(4)}
    inline = Inliner(fetcher(Names(p=["127.0.0.1"])), 200)
    with pytest.raises(BodyTooLarge):
        inline(turn_with(*(f"http://p:{gallery.port}/a.png?{number}" for number in range(4))))


def test_an_image_counts_as_often_as_it_is_named(gallery: Gallery) -> None:
    gallery.replies["/a.png"] = (200, {}, PNG)
    url, size = f"http://p:{gallery.port}/a.png", len("data:image/png;base64,") + 4 * -(-len(PNG) // 3)
    fetch = fetcher(Names(p=["127.0.0.1"]))
    assert Inliner(fetch, 3 * size)(turn_with(url, url, url))
    with pytest.raises(BodyTooLarge):
        Inliner(fetch, 3 * size - 1)(turn_with(url, url, url))


def test_a_refusal_names_the_image_without_what_may_be_a_signature(gallery: Gallery) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Inliner(fetcher(Names(p=["127.0.0.1"])), 1000)(turn_with(f"http://p:{gallery.port}/missing?sig=s3cret"))
    assert "/missing'" in caught.value.message and "s3cret" not in caught.value.message


def test_the_hosts_own_addresses_are_known_as_its_own() -> None:
    assert is_own_address("127.0.0.1") and is_own_address("::1") == socket.has_dualstack_ipv6()
    assert not is_own_address("192.0.2.7") and not is_own_address("nonsense")
