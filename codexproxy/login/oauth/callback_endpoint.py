"""Where the browser lands after it signed in: the callback's address and ports.

See docs/reference/sign-in.md#browser-login.
"""

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from codexproxy.login.oauth.browser_flow import REDIRECT_URI

# The issuer knows these two; the second is for when the first stays busy.
REGISTERED_PORTS = (1455, 1457)


@dataclass(frozen=True, slots=True)
class Landing:
    """Where the callback app listens, and how the issuer is told of it.

    Attributes:
        host: Address to bind.
        ports: Ports to try, in this order; 0 takes a free one.
        redirect_uri: What the issuer is told when the first port is free.
    """

    host: str = "127.0.0.1"
    ports: tuple[int, ...] = REGISTERED_PORTS
    redirect_uri: str = REDIRECT_URI

    @classmethod
    def of(cls, host: str, port: int, redirect_uri: str) -> Self:
        """The landing of these settings; the first registered port brings the second along."""
        return cls(host, REGISTERED_PORTS if port == REGISTERED_PORTS[0] else (port,), redirect_uri)

    @property
    def redirect_host(self) -> str | None:
        """The name that the issuer sends the browser to, in lower case."""
        return urlsplit(self.redirect_uri).hostname

    def redirect_uri_at(self, port: int) -> str:
        """What the issuer has to be told when ``port`` is the one that was free.

        An address of the owner's own with another port is left alone: something
        between the browser and us leads from there to here.
        """
        parts = urlsplit(self.redirect_uri)
        if self.redirect_uri != REDIRECT_URI and parts.port != self.ports[0]:
            return self.redirect_uri
        name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return urlunsplit(parts._replace(netloc=f"{name}:{port}"))
