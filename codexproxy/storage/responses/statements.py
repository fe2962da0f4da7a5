"""The queries of stored responses, and the steps of their transactions."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from codexproxy.storage.responses.base import PER_ITEM, Frame
from codexproxy.storage.responses.encoding import Content, content_of, encode, owned_hash

INPUT, OUTPUT = 0, 1

# Parameters: owner, id, oldest.
FIND = """
    SELECT r.row, r.body, r.lease FROM responses r JOIN threads t ON t.id = r.thread
    WHERE r.owner = ? AND r.id = ? AND t.touched >= ?
"""
GET = f"""
    SELECT f.body, f.lease, i.item, c.body FROM ({FIND}) f
    LEFT JOIN items i ON i.row = f.row AND i.side = {OUTPUT} LEFT JOIN contents c ON c.hash = i.content
    ORDER BY i.position
"""
# A chain only ever leads to lower rows, so it cannot turn in a circle.
_CHAIN = """
    WITH RECURSIVE chain (row, parent, previous) AS (
        SELECT r.row, r.parent, r.previous FROM responses r JOIN threads t ON t.id = r.thread
        WHERE r.owner = ? AND r.id = ? AND t.touched >= ?
        UNION ALL
        SELECT r.row, r.parent, r.previous FROM chain c JOIN responses r ON r.row = c.parent
    )
"""
HISTORY = f"""{_CHAIN}
    SELECT chain.row, chain.previous, i.side, i.item, c.body
    FROM chain LEFT JOIN items i ON i.row = chain.row LEFT JOIN contents c ON c.hash = i.content
    ORDER BY chain.row, i.side, i.position
"""
HISTORY_SIZE = f"""{_CHAIN}
    SELECT COALESCE(SUM(length(c.body) + {PER_ITEM}), 0)
    FROM chain JOIN items i ON i.row = chain.row JOIN contents c ON c.hash = i.content
"""
# Parameters: item ids, owner, oldest. Output items and later responses win; with ``max`` SQLite takes the other
# columns from the row that has it. Contents are joined behind that, since one id may have stood in many responses.
_FOUND = """
    SELECT i.item AS item, i.content AS content, max(i.side * 4611686018427387904 + i.row) FROM items i
    JOIN responses r ON r.row = i.row JOIN threads t ON t.id = r.thread
    WHERE i.item IN ({}) AND r.owner = ? AND t.touched >= ?
    GROUP BY i.item
"""
ITEMS = f"SELECT f.item, c.body FROM ({_FOUND}) f JOIN contents c ON c.hash = f.content"
ITEM_SIZES = f"SELECT f.item, length(c.body) + {PER_ITEM} FROM ({_FOUND}) f JOIN contents c ON c.hash = f.content"
# Parameters: those of FIND, after, limit.
LOG = f"""
    SELECT f.lease, e.number, e.frame
    FROM ({FIND}) f LEFT JOIN events e ON e.row = f.row AND e.number > ? ORDER BY e.number LIMIT ?
"""
ATTEND = "UPDATE responses SET attended = ? WHERE owner = ? AND id = ?"
ATTENDED = "SELECT attended FROM responses WHERE owner = ? AND id = ?"
OVERDUE = "SELECT row, body FROM responses WHERE lease < ? LIMIT ?"

_EXPIRED = """
    DELETE FROM responses WHERE row IN (
        SELECT r.row FROM threads t JOIN responses r ON r.thread = t.id WHERE t.touched < ? ORDER BY t.touched LIMIT ?
    )
"""
_OLDEST = """
    DELETE FROM responses WHERE row IN (
        SELECT r.row FROM threads t JOIN responses r ON r.thread = t.id WHERE t.owner = ?
        ORDER BY t.touched, t.id, r.row LIMIT ?
    )
"""
_LARGEST = "SELECT owner, responses FROM shares ORDER BY {} DESC LIMIT 1"


def insert(connection: sqlite3.Connection, values: Mapping[str, Any], now: float) -> int:
    """Adds a response without body and items, in the conversation of the one it continues.

    A later response under the same id takes its place; what continued the
    earlier one still can.

    Returns:
        Its row.
    """
    owner, id, previous = values["owner"], values["id"], values["previous"]
    parent = row_of(connection, owner, previous) if previous else None
    connection.execute("UPDATE responses SET id = id || '#' || row WHERE owner = ? AND id = ?", (owner, id))
    filled = {**values, "parent": parent, "thread": _touched_thread(connection, owner, parent, now), "body": b""}
    names = ", ".join(filled)
    marks = ", ".join("?" * len(filled))
    connection.execute(f"INSERT INTO responses ({names}) VALUES ({marks})", tuple(filled.values()))
    return int(connection.execute("SELECT last_insert_rowid()").fetchone()[0])


def row_of(connection: sqlite3.Connection, owner: str, id: str) -> int | None:
    """The row of a response."""
    return _first(connection.execute("SELECT row FROM responses WHERE owner = ? AND id = ?", (owner, id)))


def unfinished(connection: sqlite3.Connection, owner: str, id: str, now: float) -> int | None:
    """The row of a response that its maker still vouches for."""
    query = "SELECT row FROM responses WHERE owner = ? AND id = ? AND lease >= ?"
    return _first(connection.execute(query, (owner, id, now)))


def set_body(connection: sqlite3.Connection, row: int, response: Mapping[str, Any]) -> None:
    """Replaces what is kept of a Response object, its output included."""
    replace_body(connection, row, response)
    connection.execute("DELETE FROM items WHERE row = ? AND side = ?", (row, OUTPUT))
    add_items(connection, row, OUTPUT, [content_of(item) for item in response.get("output") or ()])


def replace_body(connection: sqlite3.Connection, row: int, response: Mapping[str, Any]) -> None:
    """Replaces what is kept of a Response object, but for its output."""
    body = encode({name: value for name, value in response.items() if name != "output"})
    connection.execute("UPDATE responses SET body = ? WHERE row = ?", (body, row))


def end(connection: sqlite3.Connection, row: int, now: float) -> None:
    """Marks a response as finished."""
    connection.execute("UPDATE responses SET lease = NULL, finished = ? WHERE row = ?", (now, row))


def add_frames(connection: sqlite3.Connection, row: int, frames: Sequence[Frame]) -> None:
    """Adds to a response's log; a number that is there already keeps its frame."""
    if frames:
        values = [(row, number, frame) for number, frame in frames]
        connection.executemany("INSERT OR IGNORE INTO events (row, number, frame) VALUES (?, ?, ?)", values)
        connection.execute("UPDATE responses SET logged = 1 WHERE row = ?", (row,))


def forget_expired(connection: sqlite3.Connection, oldest: float, most: int) -> int:
    """Forgets responses of conversations that nobody continued since ``oldest``; says how many."""
    return connection.execute(_EXPIRED, (oldest, most)).rowcount


def forget_beyond(connection: sqlite3.Connection, max_responses: int, max_bytes: int, most: int) -> int:
    """Forgets responses beyond these limits, the least recently continued ones of the largest owner; says how many.

    So an owner who keeps no more than an equal share loses nothing to another.
    """
    responses, size = connection.execute("SELECT responses, bytes FROM totals").fetchone()
    over = responses - max_responses
    if over <= 0 and size <= max_bytes:
        return 0
    owner, kept = connection.execute(_LARGEST.format("responses" if over > 0 else "bytes")).fetchone()
    # How many it takes to free some bytes is unknown, and so is who is the largest then: one in a hundred at a time.
    count = min(over, 1 + kept // 10) if over > 0 else 1 + kept // 100
    return connection.execute(_OLDEST, (owner, min(count, most))).rowcount


def forget_logs(connection: sqlite3.Connection, before: float, most: int) -> int:
    """Drops the logs of responses that finished before a moment; says how many."""
    query = "SELECT row FROM responses WHERE logged = 1 AND finished < ? ORDER BY finished LIMIT ?"
    rows = connection.execute(query, (before, most)).fetchall()
    connection.executemany("DELETE FROM events WHERE row = ?", rows)
    connection.executemany("UPDATE responses SET logged = 0 WHERE row = ?", rows)
    return len(rows)


def _touched_thread(connection: sqlite3.Connection, owner: str, parent: int | None, now: float) -> int:
    if parent is None:
        connection.execute("INSERT INTO threads (owner, touched) VALUES (?, ?)", (owner, now))
        return int(connection.execute("SELECT last_insert_rowid()").fetchone()[0])
    thread = int(connection.execute("SELECT thread FROM responses WHERE row = ?", (parent,)).fetchone()[0])
    connection.execute("UPDATE threads SET touched = ? WHERE id = ?", (now, thread))
    return thread


def add_items(connection: sqlite3.Connection, row: int, side: int, contents: Sequence[Content]) -> None:
    """Adds a response's items of one side, in their order."""
    (owner,) = connection.execute("SELECT owner FROM responses WHERE row = ?", (row,)).fetchone()
    hashes = [owned_hash(owner, content) for content in contents]
    bodies = ((hash, content.body) for hash, content in zip(hashes, contents, strict=True))
    connection.executemany("INSERT OR IGNORE INTO contents (hash, body) VALUES (?, ?)", bodies)
    places = (
        (row, side, place, content.item, hash)
        for place, (hash, content) in enumerate(zip(hashes, contents, strict=True))
    )
    connection.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", places)


def _first(cursor: sqlite3.Cursor) -> int | None:
    found = cursor.fetchone()
    return None if found is None else int(found[0])
