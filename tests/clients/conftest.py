"""Fixtures for real clients: their programs, and the relay that keeps what passes between them and the service."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.installing import CannotBeInstalled, install
from tests.clients.judging import flaws
from tests.clients.player import Player, node_player, own_player, python_player
from tests.clients.relay import Relay
from tests.service import Service

Make = Callable[..., Player]

PROGRAMS: dict[str, Make] = {
    "openai_python": functools.partial(own_player, "openai_client"),
    "openai_sdk": functools.partial(node_player, "openai_sdk"),
    "ai_sdk": functools.partial(node_player, "ai_sdk"),
    "langchain": functools.partial(python_player, "langchain", "langchain_openai_client"),
    "litellm": functools.partial(python_player, "litellm", "litellm_client"),
    "agents": functools.partial(python_player, "agents", "agents_client"),
}


@dataclass(frozen=True)
class Client:
    """A client as users have it: a program, a way of using it, and a model."""

    player: Player
    mode: str
    base_url: str
    model: str

    def play(self, scene: str, **args: Any) -> Any:
        """Plays a scene; see ``Player.play``."""
        name = f"{self.mode}.{scene}" if self.mode else scene
        return self.player.play(name, base_url=self.base_url, **{"model": self.model, **args})


@pytest.fixture(scope="session")
def installed() -> Callable[[str], Path]:
    """Installs a client environment and returns its folder; skips where that cannot be done."""

    def folder(name: str) -> Path:
        try:
            return install(name)
        except CannotBeInstalled as problem:
            pytest.skip(f"a client cannot be installed: {problem}")

    return folder


@pytest.fixture(scope="session")
def players(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Player]]:
    """The client programs by name, installed and started when first asked for."""
    running: dict[str, Player] = {}

    def player(name: str) -> Player:
        if name not in running:
            try:
                running[name] = PROGRAMS[name](home=tmp_path_factory.mktemp(name))
            except CannotBeInstalled as problem:
                pytest.skip(f"a client cannot be installed: {problem}")
        return running[name]

    yield player
    for started in running.values():
        started.stop()


@pytest.fixture
def relay(service: Service) -> Iterator[Relay]:
    """The service behind a relay; at the end every answer has to be as the platform's schemas say."""
    with Relay(service.port) as between:
        yield between
        found = [flaw for exchange in between.exchanges() for flaw in flaws(exchange)]
        assert found == []


@pytest.fixture
def via(service: Service, relay: Relay) -> Service:
    """The service behind the relay, for requests without a client library."""
    return service.behind(relay.port)


@pytest.fixture
def cast(players: Callable[[str], Player], relay: Relay) -> Callable[..., Client]:
    """Casts a client program: ``cast("ai_sdk", "chat")``."""

    def with_mode(program: str, mode: str = "", model: str = "gpt-5.2") -> Client:
        return Client(players(program), mode, relay.base_url, model)

    return with_mode
