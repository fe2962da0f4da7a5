"""Whose a connection is, as the kernel tells it. Linux only (proc(5))."""

import os
import re
from pathlib import Path

_ESTABLISHED = "01"
_CLOSE_WAIT = "08"
_SOCKET = re.compile(r"socket:\[(\d+)\]")


def connections(port: int) -> dict[int, str]:
    """The open connections that a server on this port has: client's port -> inode."""
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote, state, inode = fields[1], fields[2], fields[3], fields[9]
        if int(local.rpartition(":")[2], 16) == port and state in (_ESTABLISHED, _CLOSE_WAIT):
            found[int(remote.rpartition(":")[2], 16)] = inode
    return found


def ports_of(pid: int, port: int) -> frozenset[int]:
    """The clients' ports of the connections to a server's port that one process holds."""
    inodes = {found[1] for link in links(pid) if (found := _SOCKET.fullmatch(link))}
    return frozenset(client for client, inode in connections(port).items() if inode in inodes)


def links(pid: int) -> list[str]:
    """What the open descriptors of a process are."""
    found = []
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []
    for number in numbers:
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except OSError:
            continue  # closed meanwhile
    return found
