"""Which URLs stay on this machine, as the CLI's HTTP client would read them."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.upstream.codex_cli.security.local_only import is_local_url, local_host

LOCAL = [
    # names
    "http://localhost",
    "http://localhost/",
    "http://localhost:11434/v1",
    "HTTP://LOCALHOST:8080/V1",
    "https://LocalHost/v1",
    "http://localhost./v1",
    "ws://localhost:9000/",
    "wss://localhost/",
    # the loopback network
    "http://127.0.0.1",
    "http://127.0.0.1:1/v1",
    "http://127.0.0.1:65535/v1",
    "http://127.0.0.1:/v1",
    "http://127.0.0.1./v1",
    "http://127.0.0.2/v1",
    "http://127.255.255.254/v1",
    # the same in other spellings
    "http://127.1/v1",
    "http://127.0.1/v1",
    "http://2130706433/v1",
    "http://0x7f000001/v1",
    "http://0X7F.0.0.1/v1",
    "http://0x7f.1/v1",
    "http://0177.0.0.1/v1",
    "http://0177.1/v1",
    "http://017700000001/v1",
    "http://127.0x0.0.01/v1",
    # the unspecified address is this machine, too
    "http://0.0.0.0:8000/v1",
    "http://0/v1",
    "http://0x0/v1",
    "http://[::]:8000/v1",
    # IPv6
    "http://[::1]",
    "http://[::1]:8000/v1",
    "http://[0:0:0:0:0:0:0:1]/v1",
    "http://[0000::0001]/v1",
    "http://[::ffff:127.0.0.1]/v1",
    "http://[::FFFF:7f00:1]:8000/v1",
    "http://[::ffff:0.0.0.0]/v1",
    # userinfo that leads nowhere else
    "http://user:password@localhost:8000/v1",
    "http://api.openai.com@127.0.0.1/v1",
    "http://api.openai.com:443@localhost/v1",
    # names of other hosts where they do not matter
    "http://localhost/https://api.openai.com",
    "http://localhost?x=@api.openai.com",
    "http://localhost#@api.openai.com",
    "http://127.0.0.1/@api.openai.com",
]

REMOTE = [
    "https://api.openai.com/v1",
    "https://chatgpt.com/backend-api",
    "http://example.com:11434/v1",
    # names that only look local
    "http://localhost.example.com/v1",
    "http://localhost-example.com/v1",
    "http://notlocalhost/v1",
    "http://localhos/v1",
    "http://127.0.0.1.example.com/v1",
    "http://127.0.0.1.nip.io/v1",
    "http://localtest.me/v1",
    # names that some resolvers ask the network for
    "http://app.localhost/v1",
    "http://localhost.localdomain/v1",
    "http://ip6-localhost/v1",
    "http://localhost../v1",
    "http://host.docker.internal:11434/v1",
    # other machines, however near
    "http://192.168.0.10/v1",
    "http://10.0.0.1/v1",
    "http://172.17.0.1/v1",
    "http://169.254.169.254/latest",
    "http://128.0.0.1/v1",
    "http://126.255.255.255/v1",
    "http://0.0.0.1/v1",
    "http://1/v1",
    "http://3232235521/v1",
    "http://0x7f000001.example/v1",
    "http://[fe80::1]/v1",
    "http://[fd00::1]/v1",
    "http://[::2]/v1",
    "http://[::127.0.0.1]/v1",
    "http://[::ffff:8.8.8.8]/v1",
    "http://[64:ff9b::7f00:1]/v1",
    # numbers that are no address
    "http://127.0.0.256/v1",
    "http://127.0.0.0.1/v1",
    "http://127.0.0.1../v1",
    "http://4294967296/v1",
    "http://127.16777216/v1",
    "http://127.0.08.1/v1",
    "http://127..1/v1",
    "http://0xg/v1",
    # userinfo tricks
    "http://localhost@example.com/v1",
    "http://127.0.0.1:80@example.com/v1",
    "http://localhost:80:80@example.com/",
    "http://user@127.0.0.1@example.com/v1",
    "http://a@b@localhost/v1",
    "http://example.com#@localhost/v1",
    "http://example.com?@localhost/v1",
    "http://example.com/@localhost/v1",
    # what clients read in different ways
    "http://example.com\\@localhost/v1",
    "http://localhost\\@example.com/v1",
    "http:\\\\localhost/v1",
    "http://local\thost/v1",
    "http://localhost\n.example.com/v1",
    " http://localhost/v1",
    "http://localhost/v1 ",
    "http://localhost%00.example.com/v1",
    "http://%6c%6f%63alhost/v1",
    "http://127.0.0.1%2eexample.com/v1",
    "http://localhost。example.com/v1",
    "http://ⓛocalhost/v1",
    "http://１２７.0.0.1/v1",
    "http://[::1%25eth0]/v1",
    "http://[::1]example.com/v1",
    "http://[::1].example.com/v1",
    "http://::1/v1",
    "http://[::1/v1",
    "http://[127.0.0.1]/v1",
    # ports that are none
    "http://localhost:99999/v1",
    "http://localhost:80a/v1",
    "http://localhost:-1/v1",
    "http://localhost: 80/v1",
    # no such URLs
    "",
    "localhost",
    "localhost:11434",
    "//localhost/v1",
    "http:localhost/v1",
    "http:/localhost/v1",
    "http:///localhost/v1",
    "http://",
    "http://@/",
    "http://:80/",
    "file://localhost/etc/passwd",
    "ftp://localhost/",
    "unix:///run/model.sock",
    "javascript://localhost/",
]


@pytest.mark.parametrize("url", LOCAL)
def test_this_url_stays_here(url: str) -> None:
    assert is_local_url(url)


@pytest.mark.parametrize("url", REMOTE, ids=ascii)
def test_this_url_may_lead_elsewhere(url: str) -> None:
    assert not is_local_url(url)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://2130706433/", "127.0.0.1"),
        ("http://127.1:80/", "127.0.0.1"),
        ("http://LOCALHOST./", "localhost"),
        ("http://[0:0::1]/", "[::1]"),
        ("http://example.com/", None),
    ],
)
def test_the_host_is_told_plainly(url: str, host: str | None) -> None:
    assert local_host(url) == host


@given(st.ip_addresses(v=4))
def test_every_ipv4_address_is_decided_as_the_standard_library_does(address: ipaddress.IPv4Address) -> None:
    stays = address.is_loopback or address.is_unspecified
    number = int(address)
    for spelling in (str(address), str(number), hex(number), f"0{number:o}"):
        assert is_local_url(f"http://{spelling}:8000/v1") == stays


@given(st.ip_addresses(v=6))
def test_ipv6_addresses_are_local_only_when_they_are_loopback(address: ipaddress.IPv6Address) -> None:
    inner = address.ipv4_mapped or address
    assert is_local_url(f"http://[{address.exploded}]/v1") == (inner.is_loopback or inner.is_unspecified)


@given(st.text())
def test_no_text_breaks_the_decision(text: str) -> None:
    assert is_local_url(text) in (True, False)
    assert not is_local_url(f"http://{text}.example.com/".replace("/", "").replace("#", "").replace("?", ""))
