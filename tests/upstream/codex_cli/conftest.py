"""Stages of the CLI backend."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.backend_stages import CliStage, eventually


@pytest.fixture(params=["exec", "app-server"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CliStage]:
    """A backend with a fake CLI, once for each transport."""
    yield from _played(CliStage(tmp_path, request.param))


@pytest.fixture
def exec_stage(tmp_path: Path) -> Iterator[CliStage]:
    """A backend that runs ``codex exec`` of a fake CLI."""
    yield from _played(CliStage(tmp_path, "exec"))


@pytest.fixture
def app_stage(tmp_path: Path) -> Iterator[CliStage]:
    """A backend that talks to app-servers of a fake CLI."""
    yield from _played(CliStage(tmp_path, "app-server"))


def _played(stage: CliStage) -> Iterator[CliStage]:
    yield stage
    stage.close()
    assert stage.in_use() == 0
    eventually(lambda: list(stage.scratch.iterdir()) == [])
