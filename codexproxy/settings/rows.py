"""A row of the settings table, kept on the dataclass field it describes."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

Parse = Callable[[Any], Any]

_METADATA_KEY = "codexproxy.row"


@dataclass(frozen=True, slots=True)
class Row:
    """How one setting is called, checked and explained.

    Attributes:
        name: Attribute of the object that holds the value.
        key: Dotted path in the config file; None when it is set by environment only.
        env: Environment variable; None when it is set in the file only.
        parse: Turns a raw value into the attribute's; raises ValueError with the next step.
        parse_file: The same for the file, where units may differ.
        doc: One line for ``docs/settings.md``.
        shown: The default as the documentation writes it.
        secret: Whether the value must never be shown.
    """

    name: str
    key: str | None
    env: str | None
    parse: Parse
    parse_file: Parse
    doc: str
    shown: str
    secret: bool


def row(
    key: str | None,
    env: str | None,
    parse: Parse,
    default: Any = MISSING,
    doc: str = "",
    *,
    parse_file: Parse | None = None,
    shown: str | None = None,
    secret: bool = False,
) -> Any:
    """A dataclass field that carries its row of the table.

    A default that starts with ``~`` is a folder below the user's home.
    """
    text = shown if shown is not None else _show(default)
    metadata = {_METADATA_KEY: Row("", key, env, parse, parse_file or parse, doc, text, secret)}
    if isinstance(default, str) and default.startswith("~"):
        return field(default_factory=lambda: Path(os.path.expanduser(default)), metadata=metadata)
    if isinstance(default, Mapping):  # dataclasses refuse it as a plain default
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata, repr=not secret)


def rows_of(model: type) -> Iterator[Row]:
    """The table of a dataclass, in the order it was written."""
    for item in fields(model):
        if _METADATA_KEY in item.metadata:
            yield replace(item.metadata[_METADATA_KEY], name=item.name)


def _show(default: Any) -> str:
    if default is MISSING:
        return "required"
    if default is None or default == () or default == "":
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)
