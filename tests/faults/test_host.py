"""What breaks on our own host costs no login, and no answer where that can be helped."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from codexproxy.simulator.client import SimulatorClient
from tests.faults.conftest import ledger_of
from tests.faults.hosts import FullDiskService, MovableClock, locked, unwritable, without_privileges
from tests.faults.outcome import HostFault
from tests.faults.playing import House
from tests.faults.table import PACED
from tests.faults.watching import asked, is_as_told, login_of, opened
from tests.patience import patient
from tests.service import Service, wait_until

WEEKS = 20 * 24 * 3600.0


Settings = dict[str, str]
Beside = Callable[[Service], AbstractContextManager[object]]


def test_a_full_disk(row: HostFault, sim: SimulatorClient, tmp_path: Path, company: Settings, beside: Beside) -> None:
    service = FullDiskService(tmp_path / "service", sim, **company)
    before = service.login()
    with opened(service) as house:
        house.is_well()
        sim.expire(before["access_token"])
        with beside(service), service.disk_full():
            got = house.play("full")
            # The old pair is spent; a command that reads the login now has to find its successor.
            assert login_of(service)["refresh_token"] != before["refresh_token"]
        is_as_told(row, got, service)
        assert asked(got) == {1: 4}
        house.is_well()
    assert sim.counters()["refreshes"] == 1
    with opened(service) as house:
        house.is_well()


def test_a_worker_that_starts_on_a_full_disk(row: HostFault, sim: SimulatorClient, tmp_path: Path) -> None:
    service = FullDiskService(tmp_path / "service", sim)
    before = service.login()
    with opened(service) as house:
        house.is_well()
        wait_until(lambda: ledger_of(service.data_dir) == house.ledger, "the rows of the worker to be killed")
        with service.disk_full():
            os.kill(service.worker(), signal.SIGKILL)
            wait_until(lambda: service.log.count("Booting worker") == 2, "the new worker")
            got = house.play("started")
        is_as_told(row, got, service)
        assert asked(got) == {1: 4}
        house.is_well()
    assert login_of(service) == before


def test_a_data_folder_that_cannot_be_written(
    row: HostFault, sim: SimulatorClient, tmp_path: Path, company: Settings, beside: Beside
) -> None:
    service = without_privileges(Service(tmp_path / "service", sim, **company))
    before = service.login()
    sim.expire(before["access_token"])
    with ExitStack() as broken:
        broken.enter_context(unwritable(service.data_dir))
        with opened(service) as house:
            with beside(service):
                got = house.play("unwritable")
            is_as_told(row, got, service)
            assert asked(got) == {1: 4}
            assert login_of(service) == before
            broken.close()
            house.is_well()
    assert login_of(service)["refresh_token"] != before["refresh_token"]
    assert sim.counters()["refreshes"] == 1


def test_databases_that_somebody_else_keeps_locked(
    row: HostFault, sim: SimulatorClient, tmp_path: Path, company: Settings
) -> None:
    service = Service(tmp_path / "service", sim, **company)
    service.login()
    with opened(service) as house:
        house.is_well()
        wait_until(lambda: (service.data_dir / "ledger.sqlite3").exists(), "the first rows of the ledger")
        with locked(service.data_dir):
            got = house.play("locked")
        is_as_told(row, got, service)
        assert asked(got) == {1: 4}
        # A second for each of two that a turn can do without, five for the answer that is to be stored, and
        # two whenever a limited key is counted.
        assert max(found.seconds for found in got.values()) < patient(30 if company else 9)
        house.is_well()


def test_a_pipe_in_the_place_of_the_login(row: HostFault, sim: SimulatorClient, tmp_path: Path) -> None:
    service = Service(tmp_path / "service", sim)
    os.mkfifo(service.data_dir / "tokens.json")
    service.start()
    try:
        house = House(service, sim)
        got = house.play("pipe")
        is_as_told(row, got, service)
        assert asked(got) == {0: 4}
        assert service.get("/ready").status == 503
        service.login()
        house.is_well()
    finally:
        service.stop()
    assert "Traceback" not in service.log


def test_a_clock_that_jumps_in_mid_stream(
    row: HostFault, sim: SimulatorClient, tmp_path: Path, company: Settings
) -> None:
    clock = MovableClock(tmp_path)
    service = Service(tmp_path / "service", sim, **clock.environ, **company)
    service.login()
    sim.script(PACED, match="the-jump", repeat=-1)
    with opened(service) as house:
        with house.playing("the-jump") as playing:
            for hours in (1, -1):
                clock.move(3600 * hours)
                house.is_well()
            got = playing.result()
        is_as_told(row, got, service)
        assert asked(got) == {1: 4}
    assert sim.counters()["refreshes"] == 0


def test_a_clock_that_is_weeks_ahead(row: HostFault, sim: SimulatorClient, tmp_path: Path) -> None:
    clock = MovableClock(tmp_path)
    service = Service(tmp_path / "service", sim, **clock.environ)
    service.login()
    with opened(service) as house:
        clock.move(WEEKS)
        got = house.play("ahead")
        is_as_told(row, got, service)
        assert any("check this host's clock" in found.told.says for found in got.values())
        assert asked(got) == {0: 4}
        clock.move(0)
        house.is_well()
    # Whoever finds that a fresh pair looks old waits before it asks for another.
    counters = sim.counters()
    assert (counters["refreshes"] < 5, counters["reuse_detections"]) == (True, 0)
