"""Puts real clients, in the versions we pin, below ``.cache/clients`` of the checkout.

Each has a folder of its own, since their needs conflict with ours and with each
other's. ``python -m tests.clients.installing`` installs all; tests install what is
missing.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "clients"
OLDEST_NODE = 22
PATIENCE = 600
AT_ONCE = 3


class CannotBeInstalled(Exception):
    """A client is not to be had here; the message says why."""


def names() -> list[str]:
    """Every client environment there is: ``node``, and one per requirements file."""
    return ["node", *sorted(path.stem.removeprefix("requirements-") for path in HERE.glob("requirements-*.txt"))]


def install(name: str) -> Path:
    """The folder of an environment, made unless it is there and up to date.

    Raises:
        CannotBeInstalled: No npm, no registry, or no release for this Python.
    """
    folder = CACHE / name
    made = _make_node if name == "node" else _make_python
    wanted = HERE / ("node/package.json" if name == "node" else f"requirements-{name}.txt")
    digest = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    stamp = folder / "installed"
    with _locked(name):
        if not stamp.exists() or stamp.read_text() != digest:
            sys.stderr.write(f"Installing the clients of {name} ...\n")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            made(folder, wanted)
            stamp.write_text(digest)
    return folder


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Lets one process at a time install; test runners may be several."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_python(folder: Path, wanted: Path) -> None:
    _run("venv", [sys.executable, "-m", "venv", "--without-pip", str(folder)])
    # The files list every package, so pip need not look for more.
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "--disable-pip-version-check"]
    _run("pip", [*pip, "install", "--quiet", "--no-deps", "--no-compile", "--only-binary", ":all:", "-r", str(wanted)])


def _make_node(folder: Path, wanted: Path) -> None:
    if shutil.which("npm") is None:
        raise CannotBeInstalled("npm is not installed")
    shutil.copy(wanted, folder)
    options = ["--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts"]
    _run("npm", ["npm", "install", *options], cwd=folder)
    node(folder)


def node(folder: Path) -> str:
    """A Node that is new enough: the system's, else the one the registry gave.

    Raises:
        CannotBeInstalled: Neither is.
    """
    for candidate in (shutil.which("node"), *map(str, folder.glob("node_modules/node-*/bin/node"))):
        if candidate and _major(candidate) >= OLDEST_NODE:
            return candidate
    raise CannotBeInstalled(f"Node {OLDEST_NODE} or newer is neither installed nor in the registry for this machine")


def _major(node: str) -> int:
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return int(told.removeprefix("v").split(".")[0] or 0) if told else 0


def _run(what: str, argv: list[str], cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise CannotBeInstalled(f"{what} did not end within {PATIENCE} s") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise CannotBeInstalled(f"{what}: {last}")


def main() -> None:
    """Installs all; those that cannot be are named, and their tests will say the same."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for told in pool.map(_told, names()):
            print(told, end="", file=sys.stderr)


def _told(name: str) -> str:
    try:
        install(name)
    except CannotBeInstalled as problem:
        return f"The client {name} cannot be installed: {problem}\n"
    return ""


if __name__ == "__main__":
    main()
