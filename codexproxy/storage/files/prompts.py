"""Synchronised instruction texts, ``DATA_DIR/prompts``: each byte for byte, with source, date and SHA-256.

``index.json`` lists the texts, each in a file of its own. A text whose file no
longer has the recorded digest is not used; ``verify`` tells which those are.
"""

import json
import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote, unquote

from codexproxy.storage.atomic_file import write_durably
from codexproxy.storage.files.locks import HostLock

log = logging.getLogger(__name__)

PATIENCE = 10.0
# Earlier texts of a model that are still recognised.
EARLIER = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One text.

    Attributes:
        model: The model it is for.
        number: Its place among the model's texts; the one with 0 is sent, all are recognised.
        file: Its file's name.
        source: Where it came from.
        fetched_at: When, in epoch seconds.
        sha256: Digest of its bytes, in hexadecimal.
        length: Its length in bytes.
    """

    model: str
    number: int
    file: str
    source: str
    fetched_at: float
    sha256: str
    length: int


class PromptStore:
    """The synchronised texts of a data folder.

    Args:
        folder: ``DATA_DIR/prompts``; made at the first save.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = folder / "index.json"

    def stamp(self) -> Hashable:
        """Changes whenever a text was saved; one ``stat``."""
        try:
            status = self._index.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def entries(self) -> list[Entry]:
        """What is known of each text; empty when nothing was synchronised, or the index cannot be read."""
        try:
            rows = json.loads(self._index.read_text("utf-8"))
            return [Entry(**row) for row in rows]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            log.warning("the index of synchronised instructions cannot be read; synchronise again: %s", error)
            return []

    def load(self) -> Mapping[str, list[str]]:
        """Texts by model, the one that is sent first."""
        found: dict[str, list[str]] = {}
        for entry in sorted(self.entries(), key=lambda entry: (entry.model, entry.number)):
            text = self._read(entry)
            if text is not None:
                found.setdefault(entry.model, []).append(text)
        return found

    def verify(self) -> list[str]:
        """Names of files that are missing or are not what was synchronised."""
        return [entry.file for entry in self.entries() if self._read(entry) is None]

    def save(self, found: Mapping[str, Sequence[str]], source: str, now: float) -> list[str]:
        """Takes the texts of a source; models it does not know keep theirs.

        A model's earlier texts stay behind the new ones: they are not sent any
        more, but a client that is a little older still sends them.

        Args:
            found: Texts by model, the one that is to be sent first.
            source: Where they came from.
            now: Epoch seconds.

        Returns:
            The models whose texts changed.

        Raises:
            OSError: The folder cannot be written.
            LockTimeout: Another process is saving.
        """
        if not self._changed(found):
            return []
        with HostLock(self._folder / ".lock").held(PATIENCE):
            changed = self._changed(found)
            entries = self.entries()
            index = [entry for entry in entries if entry.model not in changed]
            for model in changed:
                index += self._write_all(model, self._merged(model, found[model], entries, source, now))
            write_durably(self._index, json.dumps([asdict(entry) for entry in index], indent=2).encode())
        return changed

    def _changed(self, found: Mapping[str, Sequence[str]]) -> list[str]:
        known = self.load()
        return [model for model, texts in found.items() if texts and list(texts) != known.get(model, [])[: len(texts)]]

    def _merged(
        self, model: str, texts: Sequence[str], entries: Sequence[Entry], source: str, now: float
    ) -> list[tuple[str, str, float]]:
        """Each text with its source and time, the new ones first."""
        earlier = [entry for entry in sorted(entries, key=lambda entry: entry.number) if entry.model == model]
        known = {text: entry for entry in reversed(earlier) if (text := self._read(entry)) is not None}
        kept = [(text, entry.source, entry.fetched_at) for text, entry in known.items() if text not in texts][::-1]
        fresh = [(text, source, now) for text in texts]
        return fresh + kept[:EARLIER]

    def _write_all(self, model: str, texts: Sequence[tuple[str, str, float]]) -> list[Entry]:
        return [self._write(model, number, *text) for number, text in enumerate(texts)]

    def _write(self, model: str, number: int, text: str, source: str, now: float) -> Entry:
        data = text.encode("utf-8")
        file = f"{quote(model, safe='')}{f'+{number}' if number else ''}.md"
        write_durably(self._folder / file, data)
        return Entry(model, number, file, source, now, sha256(data).hexdigest(), len(data))

    def _read(self, entry: Entry) -> str | None:
        try:
            data = (self._folder / Path(entry.file).name).read_bytes()
            return data.decode("utf-8") if sha256(data).hexdigest() == entry.sha256 else None
        except (OSError, UnicodeDecodeError):
            return None


def texts_in_folder(folder: Path) -> dict[str, list[str]]:
    """Texts of a folder of ``MODEL.md`` files, by model; further ones of a model are ``MODEL+1.md`` and so on.

    Raises:
        OSError: The folder cannot be read.
        UnicodeDecodeError: A file is not UTF-8.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.md"), key=lambda path: path.stem):
        model = unquote(path.stem.partition("+")[0])
        found.setdefault(model, []).append(path.read_bytes().decode("utf-8"))
    return found
