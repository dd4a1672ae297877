-- additive
-- What the breaker must know after a restart.

-- A (tenant, From) pair as a sender. is_proven: Exchange took a message of it, and nobody released it since. strikes is
-- JSON, by family: how many refusals since the last success, and when the last one came. held_since, held_reason,
-- cause, cure: set while the pair is held, and only then. revision orders what was written of the pair.
CREATE TABLE senders (
    pair INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    is_proven INTEGER NOT NULL,
    last_success_at INTEGER,
    strikes TEXT NOT NULL,
    held_since INTEGER,
    held_reason TEXT,
    cause TEXT,
    cure TEXT,
    CHECK ((held_since IS NULL) = (held_reason IS NULL))
) STRICT;

-- Refusals that Exchange counts against a mailbox, by family; one transaction is one. boot is seconds of the clock that
-- never jumps, and means something beside its boot_id.
CREATE TABLE family_refusals (
    attempt INTEGER NOT NULL,
    family TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    at INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    boot REAL NOT NULL,
    PRIMARY KEY (attempt, family)
) STRICT, WITHOUT ROWID;

CREATE INDEX family_refusals_at ON family_refusals (at);

-- Addresses that a connection refused, and what is told about them until they may be tried again. pair learnt it last.
CREATE TABLE refused_addresses (
    connection TEXT NOT NULL,
    key TEXT NOT NULL,
    pair INTEGER NOT NULL,
    reply TEXT NOT NULL,
    cause TEXT,
    cure TEXT,
    until INTEGER NOT NULL,
    PRIMARY KEY (connection, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX refused_addresses_until ON refused_addresses (until);
CREATE INDEX refused_addresses_pair ON refused_addresses (pair);

-- Who has sent before this table was there has proven that it may.
INSERT INTO senders (pair, revision, is_proven, last_success_at, strikes)
SELECT pair, 1, 1, max(done_at), '{}' FROM messages WHERE sent > 0 GROUP BY pair;
