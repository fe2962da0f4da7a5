"""Which servers there are."""

from collections.abc import Callable
from pathlib import Path

from bench.targets.chatmock import chatmock
from bench.targets.nginx import nginx
from bench.targets.ours import ours
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

TARGETS: dict[str, Make] = {
    "ours": ours,
    "direct": direct,
    "nginx": nginx,
    "chatmock": chatmock,
    "ours, 2 workers": lambda port, folder: ours(port, folder, 2),
}
