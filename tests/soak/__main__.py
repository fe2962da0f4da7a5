"""``python -m tests.soak --seconds 3600``: prints a table, and fails when anything is not as it has to be."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.soak.audit import Finding
from tests.soak.mixed import CLIENTS, WORKERS, mixed
from tests.soak.streams import streams
from tests.soak.tally import Tally

# The share of the time for the part of the steady streams.
STEADY = 1 / 6
# Seconds.
SHORTEST = 90


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs both parts."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="how long, all in all")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of all choices")
    parser.add_argument("--keep", type=Path, help="leave logs and databases of the mixed part in this folder")
    options = parser.parse_args(arguments)
    if options.seconds < SHORTEST:
        parser.error(f"less than {SHORTEST} seconds tell nothing of growth")
    began = time.monotonic()
    say(f"{options.seconds:.0f} s in all, seed {options.seed}")
    tally, findings = mixed(options.seconds * (1 - STEADY), options.seed, say, options.keep)
    say("now steady streams")
    findings += streams(options.seconds * STEADY)
    print(f"\nSoak of {time.monotonic() - began:.0f} s: {CLIENTS} clients, {WORKERS} workers, seed {options.seed}\n")
    print(table(tally, findings))
    return 1 if any(finding.wrong for finding in findings) else 0


def say(what: str) -> None:
    """Says how it goes."""
    print(f"[{time.strftime('%H:%M:%S')}] {what}", flush=True)


def table(tally: Tally, findings: Sequence[Finding]) -> str:
    """What happened and what was found, as text."""
    outcomes = sorted({outcome for _, outcome in tally.outcomes})
    lines = [f"{'':28}" + "".join(f"{outcome:>17}" for outcome in outcomes)]
    for kind in sorted({kind for kind, _ in tally.outcomes}):
        lines += [f"{kind:28}" + "".join(f"{tally.outcomes[kind, outcome]:17}" for outcome in outcomes)]
    totals = [sum(count for (_, found), count in tally.outcomes.items() if found == outcome) for outcome in outcomes]
    lines.append(f"{'all':28}" + "".join(f"{total:17}" for total in totals))
    happened = f"{len(tally.kills)} workers killed, {tally.reloads} reloads, {len(tally.faults)} kinds of faults"
    lines += ["", happened, ""]
    for finding in findings:
        lines.append(f"{'WRONG' if finding.wrong else 'ok':6}{finding.what:28}{finding.found}")
        if finding.wrong:
            lines.append(f"    {finding.wrong}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
