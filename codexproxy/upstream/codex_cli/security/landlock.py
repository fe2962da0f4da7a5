"""Runs a command that can open TCP connections to a few ports only (Landlock, Linux 6.7 and later).

Run as a script, between us and the CLI: the kernel holds the command and all
that it starts to the ports, whatever they heed. Where the kernel has no such
rule, the command runs without it.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Sequence

# linux/landlock.h and asm-generic/unistd.h
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION = 1
_RULE_NET_PORT = 2
_CONNECT_TCP = 1 << 1
_FIRST_WITH_NETWORK = 4

# linux/prctl.h
_SET_NO_NEW_PRIVS = 38


def landlocked(argv: Sequence[str], ports: Sequence[int]) -> list[str]:
    """The command line that runs ``argv`` with these ports only."""
    script = os.path.abspath(__file__)
    return [sys.executable, "-I", "-S", script, ",".join(map(str, ports)), *argv]


def can_restrict() -> bool:
    """Whether the kernel knows such rules."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).syscall(_CREATE_RULESET, 0, 0, _GET_VERSION) >= _FIRST_WITH_NETWORK)


def restrict(ports: Sequence[int]) -> bool:
    """Holds this process, and what it starts, to TCP connections to these ports.

    Returns:
        Whether the kernel can, and did.
    """
    if not can_restrict():
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    handled = struct.pack("QQ", 0, _CONNECT_TCP)
    ruleset = libc.syscall(_CREATE_RULESET, handled, len(handled), 0)
    if ruleset < 0:
        return False
    try:
        for port in ports:
            libc.syscall(_ADD_RULE, ruleset, _RULE_NET_PORT, struct.pack("QQ", _CONNECT_TCP, port), 0)
        libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


if __name__ == "__main__":
    restrict([int(port) for port in sys.argv[1].split(",") if port])
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error.strerror}")
