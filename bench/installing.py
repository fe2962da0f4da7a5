"""Installs the peers that are measured on demand: ``python -m bench.installing [NAME…]``.

Each goes into a folder of its own, in the version its module names; one that cannot be had is told and left out.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence

from bench.targets.peer import NPM, Peer
from bench.targets.table import PEERS

PATIENCE = 1800


class CannotBeInstalled(Exception):
    """A peer is not to be had here; the message says why."""


def install(peer: Peer) -> None:
    """Makes the peer's environment, unless it is there in this version.

    Raises:
        CannotBeInstalled: No npm, no Python that is new enough, or the registry does not give it.
    """
    if peer.installed:
        return
    shutil.rmtree(peer.folder, ignore_errors=True)
    peer.folder.mkdir(parents=True)
    (_from_npm if peer.registry == NPM else _from_pypi)(peer)
    peer.stamp.write_text(peer.package)


def _from_pypi(peer: Peer) -> None:
    _run([python(peer.python), "-m", "venv", str(peer.folder)])
    pip = [peer.program("python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _run([*pip, "install", peer.package])


def _from_npm(peer: Peer) -> None:
    if shutil.which("npm") is None:
        raise CannotBeInstalled("npm is not installed")
    options = ["--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts"]
    _run(["npm", "install", "--prefix", str(peer.folder), *options, peer.package])


def python(oldest: tuple[int, int]) -> str:
    """A Python that is new enough: this one, else one of the path.

    Raises:
        CannotBeInstalled: There is none.
    """
    check = f"import sys; sys.exit(sys.version_info < {oldest})"
    names = [sys.executable, "python3.13", "python3.14", "python3"]
    for name in names:
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", check], capture_output=True, check=False).returncode == 0:
            return found
    version = ".".join(map(str, oldest))
    raise CannotBeInstalled(f"it needs Python {version}; put one on the PATH as python{version}")


def _run(argv: Sequence[str]) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise CannotBeInstalled(f"{argv[0]} did not end within {PATIENCE} s") from None
    if done.returncode:
        told = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()
        raise CannotBeInstalled(told[-1])


def main() -> None:
    """Installs the named ones, or all, and says how each went."""
    wanted = sys.argv[1:]
    for peer in PEERS:
        if wanted and peer.name not in wanted:
            continue
        print(f"{peer.package} ... ", end="", flush=True)
        try:
            install(peer)
            print("installed")
        except CannotBeInstalled as problem:
            print(f"left out: {problem}")


if __name__ == "__main__":
    main()
