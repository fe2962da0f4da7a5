"""The tables of stored responses.

Conversations resend their items again and again, so each content is kept once
(``contents``) and dropped with its last use. Triggers do that and keep
``totals``, so that the size of all is known without counting. Conversations
are forgotten as a whole, the least recently continued first, which is why
every response belongs to a row of ``threads``.
"""

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

SCHEMA: tuple[str, ...] = _THREADS + _RESPONSES + _ITEMS + _EVENTS + _TOTALS + _READERS
