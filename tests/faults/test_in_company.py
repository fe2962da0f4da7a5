"""The rows of the first table once more: two workers, limited keys, and commands that look at the data folder meanwhile.

Each row is played in one of the four ways, in turn, and several at a time, which makes it cheap.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.faults.company import limited_key, looked_at
from tests.faults.conftest import limited_house
from tests.faults.outcome import Fault
from tests.faults.playing import WAYS, Got, House, Way
from tests.faults.table import UPSTREAM
from tests.faults.upstreams import bad_upstreams


def played(house: House, fault: Fault, way: Way) -> Got:
    return house.play(f"{fault.slug}-company", fault.upstream, [way])[way]


def test_every_row_is_told_the_same_on_two_workers_with_limited_keys_and_commands_beside(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    rows = [(fault, WAYS[number % len(WAYS)]) for number, fault in enumerate(UPSTREAM)]
    with bad_upstreams(tmp_path, simulator.base_url) as bad:
        upstreams = {"simulator": SimulatorClient(simulator.base_url).backend_url, **bad}
        providers = [{"name": name, "groupTag": name, "url": url} for name, url in upstreams.items()]
        users = [{**limited_key(name), "providerGroup": name} for name in upstreams]
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"providers": providers, "users": users}))
        company = {"CONFIG_PATH": str(path), "WEB_CONCURRENCY": "2"}
        with limited_house(simulator, tmp_path / "service", keyed=True, **company) as house:
            for fault in UPSTREAM:
                if fault.script is not None:
                    house.sim.script(fault.script, match=fault.slug, repeat=-1)
            with looked_at(house.service), ThreadPoolExecutor(4) as pool:
                found = list(pool.map(lambda row: played(house, *row), rows))
            house.is_calm()
            house.is_well()
            assert "Traceback" not in house.service.log
    wrong = {}
    for (fault, way), got in zip(rows, found, strict=True):
        want, told = fault.stream if way.stream else fault.plain, got.told
        if (told.status, told.code, want.says in told.says, got.is_ended) != (want.status, want.code, True, True):
            wrong[f"{fault.name}, {way}"] = (told, want)
    if wrong:
        pytest.fail("\n".join(f"{name}: got {told}, not {want}" for name, (told, want) in wrong.items()))
