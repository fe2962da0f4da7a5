"""A signal costs no login, and no answer but those for which there is no time."""

import os
import signal
from pathlib import Path

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import stall_at
from tests.faults.hosts import workers_of
from tests.faults.outcome import HostFault
from tests.faults.table import PACED, TEXT
from tests.faults.watching import asked, is_as_told, login_of, opened
from tests.patience import patient
from tests.service import Service, wait_until


def test_the_end_of_the_service(row: HostFault, sim: SimulatorClient, tmp_path: Path) -> None:
    service = Service(tmp_path / "service", sim)
    service.login()
    sim.script(stall_at(TEXT, event=6), match="the-end", repeat=-1)
    with opened(service, "--graceful-timeout", "2") as house:
        with house.playing("the-end") as playing:
            os.kill(_master(service), signal.SIGTERM)
            got = playing.result()
        is_as_told(row, got, service)
        assert all(found.text == "one two " for way, found in got.items() if way.stream)
        assert asked(got) == {1: 4}
        assert service.process is not None
        assert service.process.wait(patient(5)) == 0
    with opened(service) as house:
        house.is_well()


def test_a_reload(row: HostFault, sim: SimulatorClient, tmp_path: Path) -> None:
    service = Service(tmp_path / "service", sim)
    service.login()
    sim.script(PACED, match="the-reload", repeat=-1)
    with opened(service) as house:
        with house.playing("the-reload") as playing:
            os.kill(_master(service), signal.SIGHUP)
            wait_until(lambda: service.log.count("Booting worker") == 2, "the new worker")
            got = playing.result()
        is_as_told(row, got, service)
        assert asked(got) == {1: 4}
        house.is_well()


def test_a_worker_that_is_killed(row: HostFault, sim: SimulatorClient, tmp_path: Path) -> None:
    service = Service(tmp_path / "service", sim)
    before = service.login()
    sim.script(stall_at(TEXT, event=6), match="the-kill", repeat=-1)
    with opened(service) as house:
        with house.playing("the-kill") as playing:
            (worker,) = workers_of(service)
            os.kill(worker, signal.SIGKILL)
            got = playing.result()
        is_as_told(row, got, service)
        assert asked(got) == {1: 4}
        house.is_calm()
        wait_until(lambda: service.log.count("Booting worker") == 2, "the new worker")
        house.is_well()
        journal = service.data_dir / "journal"
        wait_until(lambda: not list(journal.glob(f"{worker}-*")), "the rows of the killed worker")
    assert login_of(service) == before


def _master(service: Service) -> int:
    assert service.process is not None
    return service.process.pid
