"""Which servers there are."""

from collections.abc import Callable
from pathlib import Path

from bench.targets import codex_api_proxy, codex_lb, codex_proapi, litellm, openai_oauth
from bench.targets.chatmock import chatmock
from bench.targets.nginx import nginx
from bench.targets.ours import ours
from bench.targets.peer import Peer
from bench.targets.server import CHAT, UPSTREAM, Server


def direct(source_port: int, folder: Path) -> Server:
    """No proxy at all."""
    return Server("direct", source_port, {"chat": UPSTREAM, "responses": UPSTREAM}, folder=folder)


def running(text: str) -> Server:
    """A server somebody else started in front of the source: ``NAME=PORT@PID``.

    Raises:
        ValueError: The text has another form.
    """
    name, _, place = text.partition("=")
    port, _, pid = place.partition("@")
    return Server(name, int(port), {"chat": CHAT}, pid=int(pid))


Make = Callable[[int, Path], Server | None]

PEERS: dict[Peer, Make] = {
    codex_api_proxy.PEER: codex_api_proxy.codex_api_proxy,
    codex_lb.PEER: codex_lb.codex_lb,
    codex_proapi.PEER: codex_proapi.codex_proapi,
    litellm.PEER: litellm.litellm,
    openai_oauth.PEER: openai_oauth.openai_oauth,
}

TARGETS: dict[str, Make] = {
    "ours": ours,
    "direct": direct,
    "nginx": nginx,
    "chatmock": chatmock,
    **{peer.name: make for peer, make in PEERS.items()},
    "ours, 2 workers": lambda port, folder: ours(port, folder, 2),
}
