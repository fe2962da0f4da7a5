"""The peers that somebody may install: what they are given, and that those here do answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.goals import GOALS
from bench.installing import CannotBeInstalled, install, python
from bench.runner import drive, source
from bench.scenarios import PEERS as NAMES
from bench.scenarios import SCENARIOS, Scenario
from bench.targets.peer import NPM, PYPI, Peer
from bench.targets.server import Server
from bench.targets.table import PEERS, TARGETS

# One of each registry, installed in seconds. The others take a gigabyte and half a minute to start.
LIGHT = ("codex-api-proxy", "codex-proapi")
EVERY = pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)


@pytest.fixture(scope="module")
def source_port() -> Iterator[int]:
    """The load source's port."""
    with source() as port:
        yield port


def made(peer: Peer, folder: Path) -> Server | None:
    return PEERS[peer](4711, folder)


@pytest.fixture
def peers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where peers are looked for in this test."""
    monkeypatch.setenv("BENCH_PEERS", str(tmp_path / "peers"))
    return tmp_path / "peers"


def pretend(peer: Peer, package: str) -> None:
    peer.folder.mkdir(parents=True)
    peer.stamp.write_text(package)


@EVERY
def test_a_peer_that_is_not_installed_is_no_target(peer: Peer, peers_folder: Path, tmp_path: Path) -> None:
    assert made(peer, tmp_path) is None


@EVERY
def test_a_peer_of_another_version_is_not_measured_as_this_one(peer: Peer, peers_folder: Path, tmp_path: Path) -> None:
    pretend(peer, peer.package + "0")
    assert made(peer, tmp_path) is None


@EVERY
def test_a_peer_is_told_the_source_and_no_other_address(peer: Peer, peers_folder: Path, tmp_path: Path) -> None:
    pretend(peer, peer.package)
    server = made(peer, tmp_path)
    assert server is not None
    files = [path.read_text() for path in tmp_path.iterdir() if path.is_file()]
    told = "\n".join([*server.command, *server.environ.values(), *files])
    assert "http://127.0.0.1:4711" in told
    assert "https://" not in told
    assert str(server.port) in told


@EVERY
def test_a_peer_has_a_home_of_its_own_and_rests_between_turns(peer: Peer, peers_folder: Path, tmp_path: Path) -> None:
    pretend(peer, peer.package)
    server = made(peer, tmp_path)
    assert server is not None
    assert server.environ["HOME"] == str(tmp_path)
    assert server.guest
    assert server.name == peer.name


@pytest.mark.parametrize("name", LIGHT)
def test_a_peer_that_is_installed_streams_what_the_source_says(name: str, source_port: int, tmp_path: Path) -> None:
    peer = next(peer for peer in PEERS if peer.name == name)
    assert peer.installed, "`make clients` installs it"
    server = PEERS[peer](source_port, tmp_path)
    assert server is not None
    try:
        server.start()
        load = Scenario("few", "", 3, 20, 2).load(server.port, server.paths["chat"], "chat")
        metrics, errors = drive(server, load)
    finally:
        server.stop()
    assert errors == {}
    assert (metrics["requests"], metrics["deltas"]) == (3, 60)


def test_every_peer_the_goals_name_can_be_measured_in_the_scenarios_they_name() -> None:
    targets = {scenario.key: scenario.targets for scenario in SCENARIOS}
    for goal in GOALS:
        for target in filter(None, (goal.figure.of, goal.figure.to)):
            assert target in TARGETS
            assert goal.figure.scenario == "memory" or target in targets[goal.figure.scenario]


def test_the_scenarios_name_all_peers_of_the_table() -> None:
    assert set(NAMES) == {peer.name for peer in PEERS}


def test_every_peer_is_pinned() -> None:
    for peer in PEERS:
        assert ("==" if peer.registry == PYPI else "@") in peer.package


def test_a_python_that_does_not_exist_yet_is_asked_for_plainly() -> None:
    with pytest.raises(CannotBeInstalled, match=r"needs Python 4\.0; put one on the PATH"):
        python((4, 0))


def test_a_python_that_is_new_enough_is_found() -> None:
    assert Path(python((3, 11))).exists()


def test_what_is_installed_is_left_alone(peers_folder: Path) -> None:
    peer = Peer("kept", "kept@1.0.0", NPM)
    pretend(peer, peer.package)
    install(peer)
    assert [path.name for path in peer.folder.iterdir()] == ["installed"]


def test_without_npm_a_peer_of_npm_is_not_installed(peers_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    peer = Peer("gone", "gone@1.0.0", NPM)
    with pytest.raises(CannotBeInstalled, match="npm is not installed"):
        install(peer)
    assert not peer.installed
