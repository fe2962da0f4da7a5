"""What workers counted that have ended: added up into one file per kind, so that their own can go.

With several processes prometheus-client gives each its own files, and those of
a worker that was replaced would stay until the service ends. Here they become
a numbered folder ``fold-N``, which takes effect by one rename and names the
files it replaces until they are removed: whoever reads meanwhile, and whoever
is killed in between, counts nothing twice and misses nothing.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from codexproxy.observability.processes import lives

_PREFIX = "fold-"
_REPLACED = "replaced"
# Only these are worth keeping: the gauges of the dead are forgotten (see ``gunicorn.master``).
_KINDS = ("counter", "histogram")
# How often a reading is begun anew when a fold comes in between.
_ATTEMPTS = 20


class Counted:
    """The folder in which the workers of one service count.

    Args:
        folder: Where prometheus-client keeps its files.
        lives: Whether a process is there.
    """

    def __init__(self, folder: Path, lives: Callable[[int], bool] = lives) -> None:
        self._folder = folder
        self._lives = lives

    def collect(self) -> Iterable[Metric]:
        """The metrics of all workers there are and were; see ``prometheus_client.registry.Collector``.

        Raises:
            FileNotFoundError: The folder changes all the time.
        """
        for attempt in range(_ATTEMPTS):
            fold = self._fold()
            try:
                metrics: Iterable[Metric] = MultiProcessCollector.merge(self._files(fold))  # type: ignore[no-untyped-call]
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            if self._fold() == fold:
                break
        return metrics

    def sweep(self) -> int:
        """Folds the files of workers that have ended; one process at a time may do so.

        Returns:
            How many files went.
        """
        before = self._fold()
        self._remove(before)
        ended = [path for path in self._own_files() if path.name.startswith(_KINDS) and not self._lives(_pid(path))]
        if not ended:
            return 0
        fold = self._folder / f"{_PREFIX}{_number(before) + 1}"
        draft = fold.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for kind in _KINDS:
            old = [before / f"{kind}_folded.db"] if before is not None else []
            _add_up([*old, *(path for path in ended if path.name.startswith(kind))], draft / f"{kind}_folded.db")
        (draft / _REPLACED).write_text("\n".join(path.name for path in ended))
        draft.rename(fold)
        self._remove(fold)
        return len(ended)

    def _remove(self, fold: Path | None) -> None:
        """Removes what a fold has replaced, earlier folds included."""
        if fold is None:
            return
        for name in _replaced(fold):
            (self._folder / name).unlink(missing_ok=True)
        (fold / _REPLACED).unlink(missing_ok=True)
        for older in self._folder.glob(f"{_PREFIX}*"):
            if older != fold:
                shutil.rmtree(older, ignore_errors=True)

    def _fold(self) -> Path | None:
        """The fold that is in effect."""
        folds = [path for path in self._folder.glob(f"{_PREFIX}*") if path.suffix == ""]
        return max(folds, key=_number, default=None)

    def _files(self, fold: Path | None) -> list[str]:
        # Read before the folder is listed: the list goes only after the files.
        replaced = _replaced(fold) if fold is not None else ()
        own = [path for path in self._own_files() if path.name not in replaced and _begun(path)]
        return [str(path) for path in [*own, *(fold.glob("*.db") if fold is not None else ())]]

    def _own_files(self) -> list[Path]:
        return sorted(self._folder.glob("*.db"))


def _add_up(files: Iterable[Path], target: Path) -> None:
    sums: Counter[str] = Counter()
    for path in filter(_begun, files):
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            sums[key] += value
    total = MmapedDict(str(target))  # type: ignore[no-untyped-call]
    for key, value in sums.items():
        total.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    total.close()  # type: ignore[no-untyped-call]


def _begun(path: Path) -> bool:
    """Whether a file holds anything; the library makes it empty, and reads only what is not."""
    return path.exists() and path.stat().st_size > 0


def _replaced(fold: Path) -> frozenset[str]:
    try:
        return frozenset((fold / _REPLACED).read_text().split("\n"))
    except FileNotFoundError:
        return frozenset()


def _number(fold: Path | None) -> int:
    return int(fold.name.removeprefix(_PREFIX)) if fold is not None else 0


def _pid(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])
