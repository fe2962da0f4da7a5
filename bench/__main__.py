"""Runs the benchmark; see ``--help``."""

import argparse
import json
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import report
from bench.runner import Results, memory, rounds, servers, source
from bench.scenarios import SCENARIOS, Scenario
from bench.targets.table import TARGETS, running

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
REFERENCE = HERE / "reference.json"
LETTER = HERE / "performance.md"
PAGE = HERE.parent / "docs" / "performance.md"
MEMORY = "memory"
MEMORY_TARGETS = ("ours", "nginx", "chatmock")


def main() -> None:
    """Runs what the command line asks for."""
    options = _options()
    if options.docs:
        record = json.loads(REFERENCE.read_text())
        PAGE.write_text(report.page(record, LETTER.read_text()))
        return
    _raise_file_limit()
    results = measure(options)
    if options.add:
        results = {**json.loads(options.json.read_text())["runs"], **results}
    record = report.written(results, options.repeat, options.quick)
    print("\n" + report.tables(record))
    report.keep(record, options.json)
    if options.reference:
        report.keep(record, REFERENCE)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures codexproxy beside others.")
    parser.add_argument("--quick", action="store_true", help="short scenarios; under three minutes")
    parser.add_argument("--repeat", type=int, default=3, help="interleaved rounds per scenario (3)")
    parser.add_argument("--scenario", action="append", default=[], help="only these (S1 … P1, memory)")
    parser.add_argument("--target", action="append", default=[], help=f"only these ({', '.join(TARGETS)})")
    parser.add_argument("--running", action="append", default=[], metavar="NAME=PORT@PID", type=running,
                        help="a server that runs already, with the source as its upstream")  # fmt: skip
    parser.add_argument("--source-port", type=int, default=0, help="where the source listens, for --running")
    parser.add_argument("--json", type=Path, default=RESULTS / "last.json", help="where the JSON goes")
    parser.add_argument("--add", action="store_true", help="keep what the JSON holds of other scenarios")
    parser.add_argument("--reference", action="store_true", help="keep this run as what docs/performance.md shows")
    parser.add_argument("--docs", action="store_true", help="only write docs/performance.md from the reference")
    return parser.parse_args()


def measure(options: argparse.Namespace) -> Results:
    """Runs the chosen scenarios against the chosen targets."""
    results: Results = {}
    chosen = _chosen(options.scenario, options.quick)
    names = [name for name in TARGETS if not options.target or name in options.target]
    with source(options.source_port) as port:
        print(f"The source listens on 127.0.0.1:{port}. {report.machine()}.")
        for scenario in chosen:
            with servers([name for name in names if name in scenario.targets], port) as started:
                started |= {server.name: server for server in options.running}
                results[scenario.key] = rounds(scenario, started, options.repeat, _say)
        if not options.scenario or MEMORY in options.scenario:
            kept = {
                name: memory(name, port, 2 if options.quick else 5, _say) for name in MEMORY_TARGETS if name in names
            }
            results[MEMORY] = {name: figures for name, figures in kept.items() if figures}
    return results


def _chosen(keys: Sequence[str], quick: bool) -> list[Scenario]:
    wanted = [scenario for scenario in SCENARIOS if not keys or scenario.key in keys]
    return [short for scenario in wanted if (short := scenario.quick() if quick else scenario)]


def _say(line: str) -> None:
    print(line, flush=True)


def _raise_file_limit() -> None:
    # Every process started here inherits it; 5,000 streams need 10,000 descriptors in the proxy.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < 12_000:
        print(f"Only {hard} open files are allowed here; S3X will fail.", file=sys.stderr)


if __name__ == "__main__":
    main()
