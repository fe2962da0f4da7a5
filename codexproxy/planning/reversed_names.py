"""Model names written backwards, for editors whose own models carry the same names.

See docs/reference/clients.md#cursors-model-names.
"""

from collections.abc import Collection


def reversed_name(name: str) -> str:
    """A name with its code points in reverse order: ``gpt-5.2-codex`` <-> ``xedoc-2.5-tpg``."""
    return name[::-1]


def plain_spellings(name: str, suffixes: Collection[str]) -> tuple[str, ...]:
    """How a name may read in plain order, the likeliest first.

    A suffix may have been reversed with the name (``hgih-xedoc-2.5-tpg``) or
    appended to the reversed name (``xedoc-2.5-tpg-high``).

    Args:
        name: A name as a caller wrote it.
        suffixes: Words that may follow a model's name.
    """
    base, words = name, ""
    spellings = [name, reversed_name(name)]
    while True:
        base, dash, last = base.rpartition("-")
        if not dash or last not in suffixes:
            return tuple(dict.fromkeys(spellings))
        words = f"-{last}{words}"
        spellings.append(reversed_name(base) + words)
