"""The login of a data folder: its own pair, or a link to the one another program keeps."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from codexproxy.data_dir import ProfileDir
from codexproxy.errors import ProxyError
from codexproxy.login.tokens.codex_auth_file import CodexCliStore, ReadOnlyStore
from codexproxy.login.tokens.file_store import (
    FileTokenStore,
    TokenStore,
    encode,
    file_version,
    parse_object,
    read_file,
    remove_file,
    write_file,
)
from codexproxy.login.tokens.tokens import BrokenLogin, Tokens
from codexproxy.storage.atomic_file import Disk

SHARE = "share"
READ_ONLY = "read-only"

LOCK_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Link:
    """Points to a login outside of the data folder.

    Attributes:
        path: Another program's ``auth.json``.
        mode: ``share`` reads and writes it, ``read-only`` never renews.
    """

    path: Path
    mode: str


class LinkedTokenStore:
    """The ``TokenStore`` of a data folder.

    Follows the link as it is at each call, so that a running service notices
    when somebody links, unlinks or logs in.

    Args:
        own: The pair of the folder itself.
        link_path: The file that holds the link, ``login.json``.
        disk: The steps of writing, for tests.
    """

    def __init__(self, own: FileTokenStore, link_path: Path, *, disk: Disk | None = None) -> None:
        self._own = own
        self._link_path = link_path
        self._disk = disk or Disk()
        self._followed: tuple[object, TokenStore] = (None, own)

    @classmethod
    def in_folder(cls, folder: Path) -> "LinkedTokenStore":
        """The login of a data folder."""
        files = ProfileDir(folder)
        return cls(FileTokenStore(files.tokens), files.login_link)

    @property
    def name(self) -> str:
        """What the place is called that holds the login now."""
        return self._store().name

    @property
    def refreshes(self) -> bool:
        """Whether its refresh token is ours to spend."""
        return self._store().refreshes

    def load(self) -> Tokens | None:
        """See ``TokenStore``."""
        return self._store().load()

    def save(self, tokens: Tokens) -> None:
        """Keeps a renewed pair where its predecessor was; see ``TokenStore``."""
        self._store().save(tokens)

    def reserve(self) -> None:
        """Makes room where ``save`` will write; see ``TokenStore``."""
        self._store().reserve()

    def version(self) -> object:
        """See ``TokenStore``."""
        try:
            version = self._store().version()
        except ProxyError:  # told by load(), which everybody calls who sees a new version
            return file_version(self._link_path)
        return None if version is None else (self._followed[0], version)

    @contextmanager
    def lock(self, timeout: float) -> Iterator[None]:
        """See ``TokenStore``.

        The folder's own lock is taken whatever holds the login: while a pair is on its way to one
        place, no link may be made or ended, or the pair would arrive in another.
        """
        deadline = time.monotonic() + timeout
        with self._own.lock(timeout), self._lock_of_other(deadline):
            yield

    def _lock_of_other(self, deadline: float) -> AbstractContextManager[None]:
        try:
            store = self._store()
        except ProxyError:  # a link that leads nowhere; told by load()
            return nullcontext()
        return nullcontext() if store is self._own else store.lock(max(0.0, deadline - time.monotonic()))

    def delete(self) -> None:
        """Forgets the login; another program's own file stays as it is."""
        self.unlink()
        self._own.delete()

    def replace(self, tokens: Tokens) -> None:
        """Keeps a new login of our own, in place of whatever was there.

        Raises:
            StorageFailed: The disk would not; the login before is still there.
            LockTimeout: Somebody kept the old login locked.
        """
        with self._own.lock(LOCK_TIMEOUT):
            self._own.save(tokens)
            self.unlink()

    def link(self, link: Link) -> Tokens:
        """Uses another program's login from now on.

        Returns:
            That login.

        Raises:
            BrokenLogin: There is no login at that place.
            StorageFailed: It cannot be read, or the link cannot be written.
            LockTimeout: Somebody kept the login before locked.
        """
        store = _follow(link)
        tokens = store.load()
        if tokens is None:
            raise BrokenLogin(store.name, "there is no ChatGPT login in it (an API key is none)")
        fields = {"source": "codex-cli", "path": str(link.path.absolute()), "mode": link.mode}
        with self._own.lock(LOCK_TIMEOUT):
            write_file(self._link_path, encode(fields), self._link_path.name, self._disk)
        return tokens

    def unlink(self) -> None:
        """Uses the folder's own login from now on; harmless without a link."""
        remove_file(self._link_path, self._link_path.name)

    def linked(self) -> Link | None:
        """The link, None when the login is the folder's own.

        Raises:
            BrokenLogin: The file is there and holds none.
        """
        data = read_file(self._link_path, self._link_path.name)
        if data is None:
            return None
        fields = parse_object(data, self._link_path.name)
        path, mode = fields.get("path"), fields.get("mode")
        if not isinstance(path, str) or mode not in (SHARE, READ_ONLY):
            raise BrokenLogin(self._link_path.name, "it needs a `path` and a `mode`, share or read-only")
        return Link(Path(path), mode)

    def _store(self) -> TokenStore:
        version = file_version(self._link_path)
        if version != self._followed[0]:
            link = self.linked()
            self._followed = (version, self._own if link is None else _follow(link))
        return self._followed[1]


def _follow(link: Link) -> TokenStore:
    store = CodexCliStore(link.path)
    return ReadOnlyStore(store) if link.mode == READ_ONLY else store
