"""``python -m codexproxy.simulator``: serves until SIGTERM, SIGINT or, with ``--with-parent``, end of stdin."""

import argparse
import gc
import os
import resource
import signal
import sys

import gevent
from gevent.os import nb_read

from codexproxy.simulator.rules import table
from codexproxy.simulator.server import make_server, route
from codexproxy.simulator.world import World


def main(arguments: list[str] | None = None) -> int:
    """Runs the simulator; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.list_rules:
        _say(table())
        return 0
    certificate = (options.tls_cert, options.tls_key) if options.tls_cert else None
    _prepare_process()
    server = make_server(World(route, options.pace_ms), options.host, options.port, certificate)
    try:
        server.start()
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return 1
    scheme = "https" if certificate else "http"
    _say(f"simulator listening on {scheme}://{options.host}:{server.server_port}")
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, server.stop, 0)
    if options.with_parent:
        gevent.spawn(_stop_with_parent, server)
    server.serve_forever()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("codexproxy.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose")
    parser.add_argument("--pace-ms", type=float, default=0, help="pause between deltas of unscripted answers")
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    parser.add_argument("--with-parent", action="store_true", help="stop when stdin ends")
    parser.add_argument("--list-rules", action="store_true", help="print the table of rules and exit")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _prepare_process() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Thousands of streams are mostly long-lived objects that need no collecting.
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


def _stop_with_parent(server: object) -> None:
    """The parent holds the other end of stdin: its death, however it came, is our end."""
    os.set_blocking(sys.stdin.fileno(), False)
    while nb_read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
