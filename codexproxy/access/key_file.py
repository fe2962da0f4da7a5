"""The key file: users kept by ``codexproxy keys``, taken up without a restart.

``DATA_DIR/keys.json``, mode 0600: ``{"users": [{"name", "apiKeyHash", …}]}``
with the fields of a user in the configuration. Unknown fields are kept.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codexproxy.access.authorization import USER
from codexproxy.access.keys import (
    check_cli_level,
    check_new_name,
    check_role,
    check_user_name,
    hash_key,
    new_key,
    parse_hash,
)
from codexproxy.storage.atomic_file import read_regular, write_durably
from codexproxy.storage.conversations import uuid7
from codexproxy.storage.files.locks import HostLock

log = logging.getLogger(__name__)

Record = dict[str, Any]
# What tells one content of the file from another; None while there is no file.
Stamp = tuple[int, int, int] | None

# Seconds to wait for somebody else who is changing the file.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class FileUser:
    """A user of the key file; the fields are those of ``UserRow``."""

    name: str
    api_key_hash: str
    role: str = USER
    allowed_clients: tuple[str, ...] = ()
    provider_group: str = "default"
    models: tuple[str, ...] = ("*",)
    rate_per_minute: int | None = None
    tokens_per_day: int | None = None
    max_parallel: int | None = None
    reserve_weekly_percent: float | None = None
    cli: str = "none"
    cli_network: bool = False
    enabled: bool = True
    id: str = ""


class KeyFile:
    """Reads and changes the key file.

    Reading costs one ``stat`` while the file stays as it is. A file that is
    broken keeps the users known before and says so once, as does one that
    cannot be opened, which is tried again each time; at the first reading
    either is an error.

    Args:
        path: Where the file is, or will be once a user is added.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: Stamp = None
        self._told: Stamp = None
        self._users: tuple[FileUser, ...] = ()

    def users(self) -> Sequence[FileUser]:
        """The users of this moment.

        Raises:
            ValueError: The file was never readable.
        """
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._reread(stamp)
        return self._users

    def records(self) -> list[Record]:
        """The users as the file holds them, without their hashes and ids, for people to read.

        Raises:
            ValueError: The file is not readable.
        """
        return [{key: value for key, value in record.items() if key not in _UNSHOWN} for record in self._read()]

    def add(self, name: str, **fields: Any) -> str:
        """Adds a user with further fields of the file's spelling; returns the key, shown this once.

        Raises:
            ValueError: The name is empty, taken, not for people to read, or a field has a wrong type.
        """
        key = new_key()
        check_new_name(name)
        with self._changing() as records:
            if any(record["name"] == name for record in records):
                raise ValueError(f"The name {name!r} is taken; choose another one for the key.")
            # Without an id, as older files have it, a key owns what its name owns.
            record = {"name": name, "id": uuid7(time.time()), "apiKeyHash": hash_key(key), "isEnabled": True, **fields}
            _user(record)
            records.append(record)
        return key

    def rotate(self, name: str) -> str:
        """Gives a user a new key, which is returned; the old one ends at once.

        Raises:
            KeyError: No such user.
        """
        key = new_key()
        self._edit(name, lambda record: record.update(apiKeyHash=hash_key(key)))
        return key

    def change(self, name: str, changes: Record) -> None:
        """Changes fields of a user, given in the file's spelling; None takes one away.

        Raises:
            KeyError: No such user.
            ValueError: A field has a wrong type or value.
        """

        def apply(record: Record) -> None:
            changed = {field: value for field, value in {**record, **changes}.items() if value is not None}
            _user(changed)
            record.clear()
            record.update(changed)

        self._edit(name, apply)

    def disable(self, name: str, *, disabled: bool = True) -> None:
        """Disables a user, or enables it again.

        Raises:
            KeyError: No such user.
        """
        self._edit(name, lambda record: record.update(isEnabled=not disabled))

    def remove(self, name: str) -> None:
        """Removes a user.

        Raises:
            KeyError: No such user.
        """
        with self._changing() as records:
            records.remove(_named(records, name))

    def _edit(self, name: str, change: Callable[[Record], None]) -> None:
        with self._changing() as records:
            change(_named(records, name))

    def _stamp_now(self) -> Stamp:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _reread(self, stamp: Stamp) -> None:
        try:
            self._users = tuple(_user(record) for record in self._read())
        except (OSError, ValueError) as error:
            if self._stamp is None and not self._users:
                raise
            if stamp != self._told:
                log.error("The key file cannot be read; the keys known before stay in force: %s", error)
            self._told = stamp
            if isinstance(error, OSError):
                # It says nothing about what the file holds: a key that was removed there must not stay for good.
                return
        self._stamp = stamp

    def _read(self) -> list[Record]:
        try:
            text = read_regular(self._path).decode("utf-8-sig")
        except FileNotFoundError:
            return []
        return _records(text, self._path)

    @contextmanager
    def _changing(self) -> Iterator[list[Record]]:
        with HostLock(self._path.with_suffix(".lock")).held(PATIENCE):
            records = self._read()
            yield records
            write_durably(self._path, json.dumps({"users": records}, indent=2).encode())


def _named(records: list[Record], name: str) -> Record:
    for record in records:
        if record["name"] == name:
            return record
    raise KeyError(f"There is no key named {name!r}; 'codexproxy keys list' shows those there are.")


def _records(text: str, path: Path) -> list[Record]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    records = document.get("users") if isinstance(document, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError(f"{path} must hold an object with a list of objects named 'users'.")
    for record in records:
        _user(record)
    return records


# File spelling -> field and the types it may have.
_FIELDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "name": ("name", (str,)),
    "apiKeyHash": ("api_key_hash", (str,)),
    "role": ("role", (str,)),
    "allowedClients": ("allowed_clients", (list,)),
    "providerGroup": ("provider_group", (str,)),
    "models": ("models", (list,)),
    "ratePerMinute": ("rate_per_minute", (int, type(None))),
    "tokensPerDay": ("tokens_per_day", (int, type(None))),
    "maxParallel": ("max_parallel", (int, type(None))),
    "reserveWeeklyPercent": ("reserve_weekly_percent", (int, float, type(None))),
    "cli": ("cli", (str,)),
    "cliNetwork": ("cli_network", (bool,)),
    "isEnabled": ("enabled", (bool,)),
    "id": ("id", (str,)),
}

_UNSHOWN = frozenset({"apiKeyHash", "id"})
_COUNTS = frozenset({"ratePerMinute", "tokensPerDay", "maxParallel"})


def _user(record: Record) -> FileUser:
    values: dict[str, Any] = {}
    for spelling, (field, types) in _FIELDS.items():
        if spelling in record:
            values[field] = _checked(record[spelling], spelling, types)
    if not values.get("name") or "api_key_hash" not in values:
        raise ValueError("Each user of the key file needs 'name' and 'apiKeyHash'.")
    check_user_name(values["name"])
    check_role(values.get("role", USER))
    check_cli_level(values.get("cli", "none"))
    parse_hash(values["api_key_hash"])
    return FileUser(**values)


def _checked(value: Any, spelling: str, types: tuple[type, ...]) -> Any:
    # A bool is an int to Python, yet no number to anybody who writes a limit.
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise ValueError(f"Field '{spelling}' of a user in the key file has the wrong type.")
    if spelling in _COUNTS and isinstance(value, int) and value < 1:
        raise ValueError(f"Field '{spelling}' of a user in the key file must be 1 or more; leave it out for no limit.")
    return tuple(str(element) for element in value) if isinstance(value, list) else value
