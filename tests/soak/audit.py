"""What has to be true in the end; each check tells what it found, and what is wrong with it."""

import base64
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from codexproxy.simulator.client import SimulatorClient
from codexproxy.storage.sqlite.ledger import KEPT_ROWS, Ledger
from tests.patience import patient
from tests.service import Service
from tests.soak.exchange import exchange
from tests.soak.gauges import Span
from tests.soak.tally import Tally

# Seconds that an access token lives, and between which two renewals may lie: it is due after 16, its
# leader may be up to two seconds early, and a busy machine late.
LIFETIME = 20.0
SOONEST, LATEST = 13.5, 23.0
# Milliseconds in which half of all looks at /health are answered.
HEALTH_LIMIT = 50.0
# And ninety-nine of a hundred, whatever one caller sends meanwhile.
LATE_LIMIT = 250.0
# Megabytes and descriptors that may come and go; a worker keeps what its largest request once took.
MEMORY_SLACK, DESCRIPTOR_SLACK = 24.0, 40
MOST_METRICS_FILES = 60
# Seconds in which a service without requests has ended.
LONGEST_END = 8.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        what: What was looked at.
        found: What was there.
        wrong: What should not be; empty when all is well.
    """

    what: str
    found: str
    wrong: str = ""


def failures(tally: Tally) -> Finding:
    """Every failure has its reason."""
    count = sum(tally.outcomes.values())
    return Finding(
        "unexplained failures",
        f"{tally.unexplained_count} of {count} exchanges",
        "\n    ".join(tally.unexplained) if tally.unexplained_count else "",
    )


def health(looks: Sequence[float]) -> Finding:
    """/health answers at once, also while one caller sends nothing but what is hard to read.

    Args:
        looks: Seconds that each look took while no worker was killed or replaced.
    """
    took = sorted(seconds * 1000 for seconds in looks)
    middle, late = took[len(took) // 2], took[len(took) * 99 // 100]
    found = f"{len(took)} looks, p50 {middle:.0f} ms, p99 {late:.0f} ms, slowest {took[-1]:.0f} ms"
    slow = middle > HEALTH_LIMIT or late > LATE_LIMIT
    return Finding("/health", found, f"more than {HEALTH_LIMIT:g} ms in p50 or {LATE_LIMIT:g} in p99" if slow else "")


def refreshes(sim: SimulatorClient) -> Finding:
    """Each access token was renewed once, in time, and no refresh token was spent twice."""
    known, counters = sim.tokens(), sim.counters()
    issued = sorted(_issued(item["token"]) for item in known["access"])
    gaps = [later - earlier for earlier, later in pairwise(issued)]
    states = Counter(item["state"] for item in known["refresh"])
    found = f"{counters['refreshes']} renewals of {len(issued)} tokens"
    found += f", {min(gaps):.0f} to {max(gaps):.0f} s apart" if gaps else ""
    wrong = []
    if counters["reuse_detections"]:
        wrong.append(f"{counters['reuse_detections']} refresh tokens were spent twice")
    if states != {"live": 1, "used": counters["refreshes"]} or counters["refreshes"] != len(issued) - 1:
        wrong.append(f"refresh tokens are {dict(states)}, access tokens {len(issued)}")
    if any(gap < SOONEST or gap > LATEST for gap in gaps):
        wrong.append(f"gaps of {[round(gap, 1) for gap in gaps if gap < SOONEST or gap > LATEST]} s")
    return Finding("one renewal per expiry", found, "; ".join(wrong))


def _issued(token: str) -> float:
    payload = token.split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iat"])


def flat(span: Span) -> Iterable[Finding]:
    """Neither memory nor descriptors grow while no worker is replaced."""
    for name, unit, slack in (("memory", "MB", MEMORY_SLACK), ("descriptors", "", DESCRIPTOR_SLACK)):
        early, late = span.growth(name)
        allowed = early * 1.1 + slack
        found = f"{early:.0f} → {late:.0f} {unit}".rstrip()
        yield Finding(f"flat {name}", found, f"more than {allowed:.0f}" if late > allowed else "")


def at_rest(service: Service) -> Finding:
    """No worker believes that anything is still going on."""
    wanted = ("codexproxy_open_streams", "codexproxy_queue_busy", "codexproxy_queue_waiting")
    page = exchange(service.port, "GET", "/metrics", None, "scraper-key").body.decode()
    values = dict(re.findall(rf"^({'|'.join(wanted)}) (\S+)$", page, re.MULTILINE))
    wrong = {name: values.get(name) for name in wanted if float(values.get(name, "nan")) != 0}
    return Finding("streams, places and queue", "none taken" if not wrong else "", str(wrong) if wrong else "")


def ends(service: Service) -> Finding:
    """A service in which nothing goes on ends at once."""
    began = time.monotonic()
    service.stop()
    seconds = time.monotonic() - began
    return Finding("the end of the service", f"after {seconds:.1f} s", "too late" if seconds > LONGEST_END else "")


def stored(service: Service, tally: Tally) -> Finding:
    """Every stored response can be fetched, and says what it said."""
    kept = list(tally.stored.items())
    with ThreadPoolExecutor(8) as pool:
        wrong = [flaw for flaw in pool.map(lambda item: _fetched(service, *item), kept) if flaw]
    return Finding("stored responses", f"{len(kept) - len(wrong)} of {len(kept)} fetched", "; ".join(wrong[:5]))


def _fetched(service: Service, id: str, kept: tuple[str, str]) -> str:
    user, text = kept
    seen = exchange(service.port, "GET", f"/v1/responses/{id}", None, f"{user}-key")
    if seen.broken or seen.status != 200:
        return f"{id}: {seen.broken or seen.status}"
    said = [
        part["text"] for item in json.loads(seen.body)["output"] for part in item.get("content") or [] if "text" in part
    ]
    return "" if text in ("".join(said), *said) or not text else f"{id} says {said}, and not {text!r}"


def ledger(data_dir: Path, tally: Tally) -> Finding:
    """Every turn that was answered has its row, also when its worker was killed before it was written."""
    database = Ledger(data_dir / "ledger.sqlite3")
    rows: Counter[str] = Counter()
    for use in database.used("key", 0.0):
        rows[use.name] += use.turns
    database.close()
    answered = broken_off = 0
    wrong = []
    for key, turns in sorted(tally.turns.items()):
        certain, most = len(turns.certain), len(turns.certain) + turns.perhaps
        answered, broken_off = answered + certain, broken_off + turns.perhaps
        if not certain <= rows[key] <= most:
            wrong.append(f"{key} has {rows[key]} rows, and should have {certain} to {most}")
    found = f"{rows.total()} rows; {answered} turns were answered, {broken_off} broken off"
    return Finding("ledger", found, "; ".join(wrong[:5]))


def bounds(service: Service, temporary: Path, logs: Path, log_bytes: int) -> Iterable[Finding]:
    """What is written stays within its bounds."""
    wanted = {
        "ledger": (_size(service.data_dir, "ledger.sqlite3*"), KEPT_ROWS * 400),
        "stored responses": (_size(service.data_dir, "responses.sqlite3*"), 2**30),
        "other databases": (
            sum(
                _size(service.data_dir, f"{name}.sqlite3*")
                for name in ("limits", "conversations", "affinity", "quotas")
            ),
            32 * 2**20,
        ),
        "log files": (_size(logs, "*"), log_bytes),
    }
    for what, (size, most) in wanted.items():
        found = f"{size / 1e6:.1f} MB of {most / 1e6:.1f}"
        yield Finding(f"bytes of {what}", found, "too many" if size > most else "")
    files = len(list(temporary.rglob("*.db")))
    yield Finding(
        "files of metrics", str(files), f"more than {MOST_METRICS_FILES}" if files > MOST_METRICS_FILES else ""
    )


def _size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def comes_true(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether a condition holds within so many seconds."""
    deadline = time.monotonic() + patient(seconds)
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def left(what: str, things: Iterable[Any]) -> Finding:
    """Nothing of a kind is left."""
    found = list(things)
    return Finding(what, f"{len(found)} left", str(found[:5]) if found else "")


def alive(pids: Iterable[int]) -> list[int]:
    """The processes among these that are gunicorn's still."""
    return [pid for pid in pids if b"gunicorn" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def litter(service: Service) -> list[str]:
    """Tickets and temporary files that nobody needs any more."""
    tickets = [str(path) for path in (service.data_dir / "slots" / "queue").glob("*")]
    return tickets + [name for name in os.listdir(service.data_dir) if name.endswith((".new", ".tmp"))]
