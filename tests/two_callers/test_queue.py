"""A key that fills the queue for a place keeps the others waiting for one turn, not for all of its own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from codexproxy.simulator.client import SimulatorClient
from tests.service import Service, wait_until
from tests.two_callers.pair import MODEL, configuration, pair_on


def test_a_queue_full_of_anns_turns_lets_bob_in_and_serves_him_next(
    serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path
) -> None:
    limits = {"CODEX_MAX_PARALLEL_REQUESTS": "1", "CODEX_MAX_QUEUED_REQUESTS": "4"}
    service = serve(CONFIG_PATH=configuration(tmp_path), WEB_CONCURRENCY="2", **limits)
    pair = pair_on(service, sim)
    sim.script({"text": "word " * 20, "stalls": [{"gate": "go on", "event": 6}]})
    with ThreadPoolExecutor(8) as pool:
        anns = [pool.submit(pair.ann.ask, {"model": MODEL, "input": "from Ann"}) for _ in range(7)]
        wait_until(lambda: sum(answer.done() for answer in anns) == 2, "two refusals")
        bobs = pool.submit(pair.bob.ask, {"model": MODEL, "input": "from Bob"})
        wait_until(lambda: bobs.done() or len(list((service.data_dir / "slots/queue").iterdir())) == 5, "Bob's place")
        sim.open_gate("go on")
        assert bobs.result().status == 200, bobs.result().body
        assert sorted(answer.result().status for answer in anns) == [200] * 5 + [503] * 2
    assert ["from Bob" in str(turn) for turn in sim.turns()].index(True) <= 3
