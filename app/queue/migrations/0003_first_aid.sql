-- additive
-- The operator's first aid: paused tenants, messages that an operator holds, and who did what.

-- Tenants whose mail waits by an operator's word.
CREATE TABLE paused (
    tenant TEXT PRIMARY KEY,
    who TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT;

-- Where a message that an operator holds came from, and when it was due there; null while no operator holds it. (What
-- is held for an unknown outcome alone has neither: only a person's word about that outcome moves it.)
ALTER TABLE messages ADD COLUMN kept_work TEXT;
ALTER TABLE messages ADD COLUMN kept_due_at INTEGER;
CREATE INDEX messages_kept ON messages (kept_due_at) WHERE kept_due_at IS NOT NULL;

-- What operators did; rows are added, and the detail of one grows while it is still being done.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT
) STRICT;
