"""The Codex CLI's own login file, ``auth.json``, read and written in its format.

See docs/reference/sign-in.md#the-file-authjson.

ChatMock's file has the same shape and is taken as well.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codexproxy.errors import ProxyError
from codexproxy.login.tokens.file_store import (
    encode,
    file_version,
    make_room,
    parse_object,
    read_file,
    remove_file,
    write_spared,
)
from codexproxy.login.tokens.tokens import BrokenLogin, Tokens
from codexproxy.storage.atomic_file import Disk, Spare
from codexproxy.storage.files.locks import HostLock, LockTimeout

# Beside auth.json in 0.169.0; whoever takes both must let go of the first when
# the second is taken, as nobody promised us their order.
LOCK_NAMES = ("auth.json.lock", "auth.lock")
RETRY_EVERY = 0.02

_TOKEN_NAMES = ("access_token", "refresh_token", "id_token", "account_id")


class NotOurs(ProxyError):
    """A login that may only be read was to be changed."""

    code = "login_read_only"
    status = 409


class CodexCliStore:
    """A login shared with the Codex CLI: the same file, the same refresh token.

    Unknown fields of the file are kept, and the CLI's lock files are honoured.

    Args:
        path: The ``auth.json``.
        disk: The steps of writing, for tests.
        sleep: Waits that many seconds; lets other greenlets run.
    """

    refreshes = True

    def __init__(self, path: Path, *, disk: Disk | None = None, sleep: Callable[[float], None] | None = None) -> None:
        self.path = path
        self.name = f"the Codex CLI's {path.name}"
        self._spare = Spare(path, disk)
        self._sleep = sleep
        self._locks = [HostLock(path.with_name(name)) for name in LOCK_NAMES]

    def load(self) -> Tokens | None:
        """The CLI's login; None where it has none of the ChatGPT kind."""
        document = self._document()
        tokens = document.get("tokens")
        if tokens is None:
            return None
        if not isinstance(tokens, dict):
            raise BrokenLogin(self.name, "its `tokens` is not an object")
        known = {name: tokens.get(name) for name in _TOKEN_NAMES}
        return Tokens.from_json({**known, "updated_at": _milliseconds(document.get("last_refresh"))}, self.name)

    def save(self, tokens: Tokens) -> None:
        """Writes a renewed pair into the file as it is now."""
        document = self._document()
        kept = document.get("tokens")
        renewed = {name: getattr(tokens, name) for name in _TOKEN_NAMES if getattr(tokens, name)}
        document["tokens"] = {**(kept if isinstance(kept, dict) else {}), **renewed}
        document["last_refresh"] = _timestamp(tokens.updated_at)
        document.setdefault("OPENAI_API_KEY", None)
        write_spared(self._spare, encode(document), self.name)

    def reserve(self) -> None:
        """See ``TokenStore``."""
        make_room(self._spare, self.path, self.name)

    def delete(self) -> None:
        """Deletes the file, as the CLI's own logout does."""
        remove_file(self.path, self.name)
        remove_file(self._spare.path, self.name)

    def version(self) -> object:
        """See ``TokenStore``."""
        return file_version(self.path)

    @contextmanager
    def lock(self, timeout: float) -> Iterator[None]:
        """Holds both of the CLI's locks."""
        deadline = time.monotonic() + timeout
        with ExitStack() as held:
            while not self._take_both(held):
                if time.monotonic() >= deadline:
                    raise LockTimeout(f"{self.name} is in use by another program. Please try again.")
                (self._sleep or time.sleep)(RETRY_EVERY)
            yield

    def _take_both(self, held: ExitStack) -> bool:
        with ExitStack() as taking:
            try:
                for lock in self._locks:
                    taking.enter_context(lock.held(0))
            except LockTimeout:
                return False
            held.push(taking.pop_all())
        return True

    def _document(self) -> dict[str, Any]:
        data = read_file(self.path, self.name)
        return {} if data is None else parse_object(data, self.name)


class ReadOnlyStore:
    """A login of another program's: never renewed here, read again when that program renewed it.

    Args:
        inner: Where it is.
    """

    refreshes = False

    def __init__(self, inner: CodexCliStore) -> None:
        self._inner = inner
        self.name = inner.name

    def load(self) -> Tokens | None:
        """The login as the other program left it."""
        return self._inner.load()

    def version(self) -> object:
        """See ``TokenStore``."""
        return self._inner.version()

    def save(self, tokens: Tokens) -> None:
        """Refuses.

        Raises:
            NotOurs: Always.
        """
        raise NotOurs(f"{self.name} is only read here and was not changed.")

    def reserve(self) -> None:
        """Needs no room, since nothing is written."""

    def delete(self) -> None:
        """Refuses.

        Raises:
            NotOurs: Always.
        """
        raise NotOurs(f"{self.name} is only read here and was not deleted.")

    def lock(self, timeout: float) -> AbstractContextManager[None]:
        """Excludes nobody: who only reads whole files needs no lock, and may not be able to make one."""
        return nullcontext()


def _milliseconds(last_refresh: Any) -> int:
    """The CLI's time, RFC 3339 with nanoseconds, as epoch milliseconds; 0 when it is none."""
    try:
        moment = datetime.fromisoformat(last_refresh)
        return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        return 0


def _timestamp(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}000000Z"
