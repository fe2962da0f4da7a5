"""What Ann keeps costs Bob none of what he keeps."""

from collections.abc import Callable
from pathlib import Path

from codexproxy.simulator.client import SimulatorClient
from tests.service import Service
from tests.two_callers.pair import MODEL, RESPONSES, configuration, pair_on


def test_ann_cannot_drive_out_what_bob_keeps(
    serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path
) -> None:
    service = serve(CONFIG_PATH=configuration(tmp_path), CODEX_STORE_MAX_BYTES="1048576")
    pair = pair_on(service, sim)
    kept = [pair.bob.ask({"model": MODEL, "input": f"Remember {number}."}).json["id"] for number in range(5)]
    for number in range(30):
        assert pair.ann.ask({"model": MODEL, "input": f"{number} " + "x" * 60_000}).status == 200
    for id in kept:
        assert service.get(f"{RESPONSES}/{id}", pair.bob.headers()).status == 200
    follow = {"model": MODEL, "input": "What do you remember?", "previous_response_id": kept[0]}
    assert pair.bob.ask(follow).status == 200
    assert "Remember 0." in str(sim.last_turn()["json"]["input"])
    size = sum(path.stat().st_size for path in service.data_dir.glob("responses.sqlite3"))
    assert size < 8 * 1048576
