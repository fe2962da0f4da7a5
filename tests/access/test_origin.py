"""The Host and Origin rules, as tables."""

from dataclasses import replace

import pytest

from codexproxy.access.origins import (
    FORWARDING_HEADERS,
    FORWARDING_PREFIXES,
    OriginPolicy,
    RequestOrigin,
    host_name,
    is_loopback_address,
    is_loopback_host,
    merge_vary,
    normal_origin,
    proxy_mark,
)
from codexproxy.errors import PermissionRefused

POLICY = OriginPolicy(
    cors_allow_origins=("https://app.example", "HTTP://Tool.example:80/"),
    own_origins=("http://127.0.0.1:3000", "http://localhost:3000", "http://[::1]:3000"),
)
LOCAL = RequestOrigin(host="127.0.0.1:3000")
REFUSED, PASSES = True, False


def is_refused(policy: OriginPolicy, request_origin: RequestOrigin) -> bool:
    try:
        policy.check(request_origin)
    except PermissionRefused as refusal:
        assert (refusal.status, refusal.code) == (403, "origin_not_allowed")
        assert "PROXY_API_KEY" in refusal.message
        return True
    return False


LOOPBACK_HOSTS = [
    "localhost",
    "localhost:3000",
    "LOCALHOST:3000",
    "localhost.",
    "localhost.:3000",
    "127.0.0.1",
    "127.0.0.1:3000",
    "127.0.0.2:3000",
    "127.255.255.254",
    "[::1]",
    "[::1]:3000",
    "[::ffff:127.0.0.1]:3000",
    "[0:0:0:0:0:0:0:1]",
    "localhost:",
]
OTHER_HOSTS = [
    None,
    "",
    " ",
    "evil.example",
    "evil.example:3000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.localhost",
    "localhost..",
    ".localhost",
    "192.168.1.10:3000",
    "10.0.0.1",
    "0.0.0.0:3000",
    "[::]:3000",
    "[fe80::1]",
    "[::ffff:10.0.0.1]",
    "::1",
    "[::1",
    "[::1]evil",
    "[localhost]",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "localhost@evil.example",
    "evil.example@localhost",
    "user:pw@127.0.0.1:3000",
    "127.0.0.1:3000, evil.example",
    "localhost/evil",
    "localhost:99999999",
    "localhost:abc",
    "localhost\\evil",
    "localhost#",
    "lоcalhost",
]


@pytest.mark.parametrize("host", LOOPBACK_HOSTS)
def test_every_spelling_of_this_machine_is_served_without_a_key(host: str) -> None:
    assert is_loopback_host(host)
    assert is_refused(POLICY, replace(LOCAL, host=host)) is PASSES


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_every_other_host_is_refused_without_a_key(host: str | None) -> None:
    assert not is_loopback_host(host)
    assert is_refused(POLICY, replace(LOCAL, host=host)) is REFUSED


@pytest.mark.parametrize("host", OTHER_HOSTS)
@pytest.mark.parametrize("origin", [None, "https://evil.example", "null"])
def test_a_valid_key_makes_host_and_origin_no_reason_to_refuse(host: str | None, origin: str | None) -> None:
    far = RequestOrigin(host, origin, remote_is_loopback=False, proxy="Via", has_key=True, key_configured=True)
    assert is_refused(POLICY, far) is PASSES


def test_with_keys_configured_a_keyless_request_is_left_to_the_key_check() -> None:
    assert is_refused(POLICY, RequestOrigin("evil.example", "https://evil.example", key_configured=True)) is PASSES


ORIGINS = [
    ("http://127.0.0.1:3000", PASSES),
    ("http://localhost:3000", PASSES),
    ("HTTP://LOCALHOST:3000", PASSES),
    ("http://[::1]:3000", PASSES),
    ("https://app.example", PASSES),
    ("https://APP.example:443", PASSES),
    ("http://tool.example", PASSES),
    ("http://localhost:5173", REFUSED),
    ("http://127.0.0.1", REFUSED),
    ("http://127.0.0.1:3001", REFUSED),
    ("ftp://127.0.0.1:3000", REFUSED),
    ("http://app.example", REFUSED),
    ("https://app.example:8443", REFUSED),
    ("https://app.example.evil.example", REFUSED),
    ("https://evil.example", REFUSED),
    ("https://app.example@evil.example", REFUSED),
    ("https://app.example/path", REFUSED),
    ("http://[::1", REFUSED),
    ("null", REFUSED),
    ("file://", REFUSED),
    ("", REFUSED),
    ("chrome-extension://abcdef", REFUSED),
]


@pytest.mark.parametrize(("origin", "refused"), ORIGINS)
def test_only_our_own_and_allowed_origins_are_served_without_a_key(origin: str, refused: bool) -> None:
    assert is_refused(POLICY, replace(LOCAL, origin=origin)) is refused


@pytest.mark.parametrize(("origin", "refused"), ORIGINS)
def test_allow_unauthenticated_takes_any_host_but_keeps_the_origin_rule(origin: str, refused: bool) -> None:
    policy = replace(POLICY, allow_unauthenticated=True)
    far = RequestOrigin("proxy.example", origin, remote_is_loopback=False, proxy="Via")
    assert is_refused(policy, far) is refused
    assert is_refused(policy, replace(far, origin=None)) is PASSES
    assert is_refused(policy, replace(far, key_configured=True)) is refused


def test_under_a_mapped_port_our_own_page_is_the_origin_the_request_went_to() -> None:
    mapped = RequestOrigin("localhost:8080", "http://localhost:8080")
    assert is_refused(POLICY, mapped) is PASSES
    assert is_refused(POLICY, replace(mapped, origin="http://localhost:8081")) is REFUSED
    assert is_refused(POLICY, replace(mapped, host="evil.example", origin="http://evil.example")) is REFUSED


def test_a_star_allows_every_origin_but_no_foreign_host() -> None:
    policy = replace(POLICY, cors_allow_origins=("*",))
    assert is_refused(policy, replace(LOCAL, origin="https://anything.example")) is PASSES
    assert is_refused(policy, replace(LOCAL, origin="null")) is PASSES
    assert is_refused(policy, RequestOrigin("evil.example", "https://anything.example")) is REFUSED


def environ(protocol: str = "HTTP/1.1", **headers: str) -> dict[str, str]:
    """The WSGI environment of a request with these headers, written with underscores."""
    return {"SERVER_PROTOCOL": protocol, **{f"HTTP_{name.upper()}": value for name, value in headers.items()}}


# The proxies of this list add these headers by themselves; the last ones are those of forms of ours above.
MARKS = """
    forwarded via x-forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-port x-forwarded-server
    x-real-ip x-client-ip true-client-ip cf-connecting-ip cf-ray fly-client-ip x-original-forwarded-for x-original-host
    x-cluster-client-ip x-envoy-external-address x-azure-clientip fastly-client-ip tailscale-user-login cdn-loop
    x-amzn-trace-id x-vercel-forwarded-for x-appengine-user-ip x-arr-log-id
""".split()


@pytest.mark.parametrize("name", sorted({*MARKS, *FORWARDING_HEADERS, *(f"{name}x" for name in FORWARDING_PREFIXES)}))
def test_a_proxy_in_front_is_refused_without_a_key_although_its_host_is_loopback(name: str) -> None:
    mark = proxy_mark(environ(**{name.replace("-", "_"): "203.0.113.9"}))
    assert f"'{name}'" in mark
    assert is_refused(POLICY, replace(LOCAL, proxy=mark)) is REFUSED


@pytest.mark.parametrize("connection", ["close", "Close", "keep-alive, close", "TE,close"])
def test_a_connection_that_is_to_be_closed_looks_like_one_of_nginx(connection: str) -> None:
    assert "nginx" in proxy_mark(environ(connection=connection))


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/0.9"])
def test_an_old_protocol_looks_like_one_of_nginx(protocol: str) -> None:
    mark = proxy_mark(environ(protocol, connection="keep-alive"))
    assert protocol in mark and "nginx" in mark


@pytest.mark.parametrize("connection", ["keep-alive", "Keep-Alive", "Upgrade", "", "closed"])
def test_plain_requests_carry_no_mark_of_a_proxy(connection: str) -> None:
    plain = environ(
        host="localhost", user_agent="curl/8", connection=connection, x_request_id="1", origin="http://localhost"
    )
    assert proxy_mark(plain) == ""
    assert proxy_mark(environ()) == ""


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", False),
        (None, False),
        ("192.168.0.2", False),
        ("::ffff:192.168.0.2", False),
        ("unix:/run/x.sock", False),
        ("localhost", False),
    ],
)
def test_only_loopback_addresses_are_local_and_a_unix_socket_is_not(address: str | None, loopback: bool) -> None:
    assert is_loopback_address(address) is loopback
    assert is_refused(POLICY, replace(LOCAL, remote_is_loopback=is_loopback_address(address))) is not loopback


@pytest.mark.parametrize(
    ("request_origin", "is_owner"),
    [
        (LOCAL, True),
        (replace(LOCAL, origin="http://localhost:3000"), True),
        (replace(LOCAL, origin="https://app.example"), True),
        (replace(LOCAL, origin="https://evil.example"), False),
        (replace(LOCAL, host="proxy.example"), False),
        (replace(LOCAL, remote_is_loopback=False), False),
        (replace(LOCAL, proxy="Via"), False),
        (replace(LOCAL, key_configured=True), False),
    ],
)
@pytest.mark.parametrize("unauthenticated", [True, False])
@pytest.mark.parametrize("star", [(), ("*",)])
def test_without_keys_this_machine_is_the_owner_and_nobody_else(
    request_origin: RequestOrigin, is_owner: bool, unauthenticated: bool, star: tuple[str, ...]
) -> None:
    origins = (*POLICY.cors_allow_origins, *star)
    policy = replace(POLICY, allow_unauthenticated=unauthenticated, cors_allow_origins=origins)
    assert policy.is_owner(request_origin) is is_owner


def test_a_preflight_of_an_allowed_origin_grants_every_header_it_asks_for() -> None:
    asked = "authorization,x-stainless-os, X-Anything"
    headers = POLICY.cors_headers("https://app.example", requested_headers=asked, private_network=True, preflight=True)
    assert headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert headers["Access-Control-Allow-Headers"] == asked
    assert headers["Access-Control-Allow-Private-Network"] == "true"
    assert {"POST", "GET", "DELETE"} <= set(headers["Access-Control-Allow-Methods"].split(", "))
    assert "Origin" in headers["Vary"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://localhost:5173"])
def test_a_foreign_origin_gets_no_cors_headers(origin: str) -> None:
    headers = POLICY.cors_headers(origin, requested_headers="authorization", preflight=True)
    assert not any(name.startswith("Access-Control") for name in headers)


def test_an_answer_to_an_allowed_origin_shows_our_headers_to_the_page() -> None:
    headers = replace(POLICY, cors_allow_origins=("*",)).cors_headers("https://any.example")
    assert headers["Access-Control-Allow-Origin"] == "https://any.example"
    assert "x-codexproxy-adapted" in headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Methods" not in headers


def test_requested_headers_that_are_no_header_names_are_not_echoed() -> None:
    headers = POLICY.cors_headers("https://app.example", requested_headers="a\r\nx: y", preflight=True)
    assert "Access-Control-Allow-Headers" not in headers


def test_without_allowed_origins_answers_do_not_vary() -> None:
    assert OriginPolicy().cors_headers("https://app.example") == {}


@pytest.mark.parametrize(
    ("ours", "other", "merged"),
    [({"Vary": "Origin"}, None, "Origin"), ({"Vary": "Origin"}, "Accept, Origin", "Accept, Origin"), ({}, "A", "A")],
)
def test_vary_is_merged_without_repeats(ours: dict[str, str], other: str | None, merged: str) -> None:
    assert merge_vary(ours, other) == merged


def test_names_lose_brackets_port_and_case() -> None:
    assert [host_name(host) for host in ("[::1]:1", "Example.COM.:80", "a_b")] == ["::1", "example.com", "a_b"]
    assert normal_origin("HTTP://[::1]:80") == "http://[::1]"
