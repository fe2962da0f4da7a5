"""The tables of stored responses.

Conversations resend their items again and again, so each content is kept once
(``contents``) and dropped with its last use. Triggers do that and keep
``totals``, so that the size of all is known without counting, and ``shares``,
the size of each owner's, who shares no content with another. Conversations
are forgotten as a whole, the least recently continued of the largest owner
first, which is why every response belongs to a row of ``threads``.
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
