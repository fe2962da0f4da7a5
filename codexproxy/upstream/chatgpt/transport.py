"""One warm HTTP session to one upstream.

What is expensive is done once: the TLS context (12 ms of CPU), the proxy look-up
in the environment (0.4 ms a request), the preparation of addresses and the way to
each. Cookies of one account must never travel with another's request, so none are
even read.
"""

import os
import ssl
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies

from codexproxy.upstream.chatgpt.connection import POOLS

# Connections beyond the pool's size are thrown away after one use; idle ones cost a socket only.
POOL_SIZE = 10_000

# Addresses that are kept as requests prepares them; there are few.
MOST_URLS = 256

Timeout = tuple[float | None, float | None]

T = TypeVar("T")


class WarmAdapter(HTTPAdapter):
    """An adapter whose connections share one TLS context, made at start.

    Which pool an address belongs to, and what is asked of it, is worked out once per
    address; proxies and certificates are those of the first request.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._pools: dict[str | None, Any] = {}
        self._targets: dict[str | None, str] = {}
        super().__init__(pool_connections=4, pool_maxsize=POOL_SIZE)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Hands the shared context to every pool."""
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Hands the shared context to tunnels through a proxy, too."""
        manager = super().proxy_manager_for(proxy, **kwargs, ssl_context=self._context)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leaves the certificates to the shared context; requests would load the bundle per connection."""

    def get_connection_with_tls_context(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> Any:
        """The pool of an address."""
        pool = self._pools.get(request.url)
        return pool or _kept(
            self._pools, request.url, super().get_connection_with_tls_context(request, *args, **options)
        )

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """What is asked of the pool: a path, or to a proxy the whole address."""
        target = self._targets.get(request.url)
        return target or _kept(self._targets, request.url, super().request_url(request, proxies))

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """The answer as far as anybody looks at it."""
        response = requests.Response()
        response.url, response.request = req.url or "", req
        response.status_code, response.raw = resp.status, resp
        response.headers = CaseInsensitiveDict(resp.headers)
        return response


def _kept(known: dict[str | None, T], url: str | None, value: T) -> T:
    if len(known) < MOST_URLS:
        known[url] = value
    return value


class Transport:
    """Sends requests to one upstream; one per provider and worker, never made before the fork.

    Args:
        base_url: The upstream's base URL; decides about TLS and proxies.
        environ: Where proxy and CA bundle settings are looked up, once.
    """

    def __init__(self, base_url: str, environ: Mapping[str, str] = os.environ) -> None:
        context = None
        if base_url.lower().startswith("https"):
            context = ssl.create_default_context(cafile=_ca_bundle(environ))
        self._adapter = WarmAdapter(context)
        self._proxies = dict(get_environ_proxies(base_url))
        self._urls: dict[str, str | None] = {}

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | bytearray, timeout: Timeout
    ) -> requests.Response:
        """Sends one request and returns once the response's headers are there.

        Args:
            timeout: Seconds to connect, and seconds between two reads.

        Raises:
            requests.RequestException: Nothing, or nothing valid, came back.
        """
        request = requests.PreparedRequest()
        request.method, request.url = method, self._prepared(url)
        sent = dict(headers)
        if body:
            request.body = cast(Any, body)
            sent["Content-Length"] = str(len(body))
        # Whoever sends it goes through the names once; a plain dictionary is copied the quickest.
        request.headers = cast(Any, sent)
        return self._adapter.send(request, stream=True, timeout=cast(Any, timeout), proxies=self._proxies)

    def _prepared(self, url: str) -> str | None:
        prepared = self._urls.get(url)
        if prepared is None:
            prepared = requests.Request("GET", url).prepare().url
            if len(self._urls) < MOST_URLS:
                self._urls[url] = prepared
        return prepared

    def close(self) -> None:
        """Closes the idle connections."""
        self._adapter.close()


def _ca_bundle(environ: Mapping[str, str]) -> str:
    names = ("CODEX_CA_CERTIFICATE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
    return next((environ[name] for name in names if environ.get(name)), str(DEFAULT_CA_BUNDLE_PATH))
