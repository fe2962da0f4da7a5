"""A worker of the service, as far as the CLI backend is concerned: gevent's patches, greenlets, shared places.

Run as ``python -m tests.upstream.codex_cli.cli_worker FOLDER TRANSPORT PLACES TURNS``; prints one JSON object.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 - only after the patches
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402

from codexproxy.access.slots import Slots  # noqa: E402
from codexproxy.errors import ProxyError  # noqa: E402
from codexproxy.protocol.request import Turn  # noqa: E402
from codexproxy.protocol.stream import TimeLimits  # noqa: E402
from codexproxy.upstream.codex_cli import CodexCliBackend, CodexCliOptions  # noqa: E402

MESSAGE = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}


def main(folder: Path, transport: str, places: int, turns: int, timeout: float = 60) -> dict[str, object]:
    options = CodexCliOptions(
        bin=str(folder / "codex"),
        home=folder / "home",
        scratch=folder / "scratch",
        transport=transport,
        environment={"PATH": os.environ["PATH"]},
        limits=TimeLimits(first_event=None, idle=None, total=60),
    )
    slots = Slots(folder / "slots", places, timeout)
    backend = CodexCliBackend("worker", options, permits=slots, patience=1)
    outcomes: list[str] = []
    longest_stop = 0.0

    def turn() -> None:
        try:
            stream = backend.open(Turn("m", {"model": "gpt-5.5", "input": [MESSAGE]}))
            try:
                outcomes.append([event.type for batch in stream for event in batch][-1])
            finally:
                stream.close()
        except ProxyError as error:
            outcomes.append(str(error.code))

    def watch() -> None:
        nonlocal longest_stop
        while True:
            began = time.monotonic()
            gevent.sleep(0.01)
            longest_stop = max(longest_stop, time.monotonic() - began - 0.01)

    watcher = gevent.spawn(watch)
    asked = [gevent.spawn(turn) for _ in range(turns)]
    if len(sys.argv) > 6:
        gevent.sleep(float(sys.argv[6]))
        gevent.killall(asked)
    gevent.joinall(asked)
    watcher.kill()
    backend.close()
    return {
        "outcomes": {outcome: outcomes.count(outcome) for outcome in set(outcomes)},
        "busy": slots.busy(),
        "waiting": slots.waiting(),
        "longest_stop": longest_stop,
    }


if __name__ == "__main__":
    limit = float(sys.argv[5]) if len(sys.argv) > 5 else 60
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), limit)))
