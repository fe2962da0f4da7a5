"""The queries of stored responses, and the steps of their transactions."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from codexproxy.storage.base import PER_ITEM, Frame
from codexproxy.storage.stored_responses import Content, content_of, encode, owned_hash

_THREADS = (
    "CREATE TABLE threads (id INTEGER PRIMARY KEY AUTOINCREMENT, touched REAL NOT NULL)",
    "CREATE INDEX threads_by_age ON threads (touched)",
)

# ``parent`` and ``previous`` are row and id of the response it continued.
# ``lease`` is the moment until which its maker vouches for it, NULL once finished.
# ``body`` is the Response object without its output.
_RESPONSES = (
    """CREATE TABLE responses (
        row INTEGER PRIMARY KEY AUTOINCREMENT,
        owner TEXT NOT NULL,
        id TEXT NOT NULL,
        thread INTEGER NOT NULL,
        parent INTEGER,
        previous TEXT,
        finished REAL,
        lease REAL,
        logged INTEGER NOT NULL DEFAULT 0,
        body BLOB NOT NULL,
        UNIQUE (owner, id)
    )""",
    "CREATE INDEX responses_by_thread ON responses (thread)",
    "CREATE INDEX responses_unfinished ON responses (lease) WHERE lease IS NOT NULL",
    "CREATE INDEX responses_logged ON responses (finished) WHERE logged = 1",
)

# ``side`` is 0 for input and 1 for output; ``item`` is the item's id.
_ITEMS = (
    "CREATE TABLE contents (hash BLOB PRIMARY KEY, body BLOB NOT NULL)",
    """CREATE TABLE items (
        row INTEGER NOT NULL,
        side INTEGER NOT NULL,
        position INTEGER NOT NULL,
        item TEXT,
        content BLOB NOT NULL,
        PRIMARY KEY (row, side, position)
    ) WITHOUT ROWID""",
    "CREATE INDEX items_by_id ON items (item)",
    "CREATE INDEX items_by_content ON items (content)",
)

_EVENTS = (
    """CREATE TABLE events (
        row INTEGER NOT NULL,
        number INTEGER NOT NULL,
        frame BLOB NOT NULL,
        PRIMARY KEY (row, number)
    ) WITHOUT ROWID""",
)

_TOTALS = (
    "CREATE TABLE totals (responses INTEGER NOT NULL, bytes INTEGER NOT NULL)",
    "INSERT INTO totals VALUES (0, 0)",
    """CREATE TRIGGER response_added AFTER INSERT ON responses BEGIN
        UPDATE totals SET responses = responses + 1, bytes = bytes + length(NEW.body);
    END""",
    """CREATE TRIGGER response_changed AFTER UPDATE OF body ON responses BEGIN
        UPDATE totals SET bytes = bytes + length(NEW.body) - length(OLD.body);
    END""",
    """CREATE TRIGGER response_removed AFTER DELETE ON responses BEGIN
        UPDATE totals SET responses = responses - 1, bytes = bytes - length(OLD.body);
        DELETE FROM items WHERE row = OLD.row;
        DELETE FROM events WHERE row = OLD.row;
        DELETE FROM threads WHERE id = OLD.thread AND NOT EXISTS (SELECT 1 FROM responses WHERE thread = OLD.thread);
    END""",
    """CREATE TRIGGER item_removed AFTER DELETE ON items BEGIN
        DELETE FROM contents WHERE hash = OLD.content AND NOT EXISTS (SELECT 1 FROM items WHERE content = OLD.content);
    END""",
    """CREATE TRIGGER content_added AFTER INSERT ON contents BEGIN
        UPDATE totals SET bytes = bytes + length(NEW.body);
    END""",
    """CREATE TRIGGER content_removed AFTER DELETE ON contents BEGIN
        UPDATE totals SET bytes = bytes - length(OLD.body);
    END""",
    """CREATE TRIGGER event_added AFTER INSERT ON events BEGIN
        UPDATE totals SET bytes = bytes + length(NEW.frame);
    END""",
    """CREATE TRIGGER event_removed AFTER DELETE ON events BEGIN
        UPDATE totals SET bytes = bytes - length(OLD.frame);
    END""",
)

# ``attended`` is the moment at which somebody last read along while it was made.
_READERS = ("ALTER TABLE responses ADD COLUMN attended REAL",)

# Version 0.1 still writes to such a file, while it is being replaced or after a way back: what it inserts without
# naming columns may get no new ones. The owners of contents stand apart, so that no content is written again.
# A content that two owners had before is charged to one of them.
OWNERS = (
    "ALTER TABLE threads ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
    "UPDATE threads SET owner = coalesce((SELECT owner FROM responses WHERE thread = threads.id LIMIT 1), '')",
    "CREATE INDEX threads_by_owner ON threads (owner, touched)",
    """CREATE TRIGGER thread_owned AFTER INSERT ON responses BEGIN
        UPDATE threads SET owner = NEW.owner WHERE id = NEW.thread AND owner = '';
    END""",
    "CREATE TABLE content_owners (hash BLOB PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID",
    """INSERT INTO content_owners
        SELECT i.content, min(r.owner) FROM items i JOIN responses r ON r.row = i.row GROUP BY i.content""",
)

# Summed without a join: to sort by owner, SQLite would copy all that is kept.
SHARES = (
    "CREATE TABLE shares (owner TEXT PRIMARY KEY, responses INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID",
    """INSERT INTO shares SELECT owner, sum(responses), sum(bytes) FROM (
        SELECT owner, count(*) AS responses, sum(length(body)) AS bytes FROM responses GROUP BY owner
        UNION ALL
        SELECT owner, 0, sum((SELECT length(body) FROM contents c WHERE c.hash = o.hash))
        FROM content_owners o GROUP BY owner
        UNION ALL
        SELECT owner, 0, sum((SELECT sum(length(frame)) FROM events e WHERE e.row = r.row))
        FROM responses r GROUP BY owner
    ) GROUP BY owner""",
    """CREATE TRIGGER share_of_response_added AFTER INSERT ON responses BEGIN
        INSERT INTO shares VALUES (NEW.owner, 1, length(NEW.body))
        ON CONFLICT (owner) DO UPDATE SET responses = responses + 1, bytes = bytes + excluded.bytes;
    END""",
    """CREATE TRIGGER share_of_response_changed AFTER UPDATE OF body ON responses BEGIN
        UPDATE shares SET bytes = bytes + length(NEW.body) - length(OLD.body) WHERE owner = NEW.owner;
    END""",
    # Before, since the response is needed to find the owner of its events.
    """CREATE TRIGGER share_of_response_removed BEFORE DELETE ON responses BEGIN
        UPDATE shares SET responses = responses - 1, bytes = bytes - length(OLD.body)
            - coalesce((SELECT sum(length(frame)) FROM events WHERE row = OLD.row), 0)
        WHERE owner = OLD.owner;
    END""",
    """CREATE TRIGGER content_owned AFTER INSERT ON items
    WHEN NOT EXISTS (SELECT 1 FROM content_owners WHERE hash = NEW.content) BEGIN
        INSERT INTO content_owners SELECT NEW.content, owner FROM responses WHERE row = NEW.row;
    END""",
    """CREATE TRIGGER share_of_content_added AFTER INSERT ON content_owners BEGIN
        UPDATE shares SET bytes = bytes + coalesce((SELECT length(body) FROM contents WHERE hash = NEW.hash), 0)
        WHERE owner = NEW.owner;
    END""",
    """CREATE TRIGGER share_of_content_removed AFTER DELETE ON contents BEGIN
        UPDATE shares SET bytes = bytes - length(OLD.body)
        WHERE owner = (SELECT owner FROM content_owners WHERE hash = OLD.hash);
        DELETE FROM content_owners WHERE hash = OLD.hash;
    END""",
    """CREATE TRIGGER share_of_event_added AFTER INSERT ON events BEGIN
        UPDATE shares SET bytes = bytes + length(NEW.frame)
        WHERE owner = (SELECT owner FROM responses WHERE row = NEW.row);
    END""",
    """CREATE TRIGGER share_of_event_removed AFTER DELETE ON events BEGIN
        UPDATE shares SET bytes = bytes - length(OLD.frame)
        WHERE owner = (SELECT owner FROM responses WHERE row = OLD.row);
    END""",
)

SCHEMA: tuple[str, ...] = _THREADS + _RESPONSES + _ITEMS + _EVENTS + _TOTALS + _READERS + OWNERS + SHARES


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
