-- additive
-- The first schema. Instants are microseconds since 1970 in UTC; replies are compact JSON; a name that is needed in
-- many rows is a number there.

-- A tenant by name. The configuration says what a tenant is; this only gives it a number.
CREATE TABLE tenants (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- A (tenant, From) pair: what lanes are made of.
CREATE TABLE pairs (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    sender_key TEXT NOT NULL,
    UNIQUE (tenant, sender_key)
) STRICT;

-- The queue itself, thin: what picking, settling and listing need of a message.
-- seq is its place among all messages: created_at, moved on where that instant is taken.
-- body is the number of its content, null once that is erased. due_at is set while the message waits, and only then.
-- attempt is the attempt that holds the claim while the message is sending. attempts counts all, tries those that
-- counted, unknowns those after which an unknown was tried again. hold_unknown: an unknown waits for a person's word.
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    tenant INTEGER NOT NULL,
    pair INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    work TEXT NOT NULL CHECK (work IN ('queued', 'sending', 'deferred', 'held', 'done')),
    due_at INTEGER,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    scheduled_at INTEGER,
    date_at INTEGER NOT NULL,
    done_at INTEGER,
    attempt INTEGER,
    attempts INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    unknowns INTEGER NOT NULL,
    hold_unknown INTEGER NOT NULL,
    size INTEGER NOT NULL,
    smtputf8 INTEGER NOT NULL,
    is_test INTEGER NOT NULL,
    body INTEGER,
    message_id TEXT NOT NULL,
    recipients INTEGER NOT NULL,
    pending INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    unknown INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    canceled INTEGER NOT NULL,
    -- The word the API shows (app/mail/message.py, api_status), but for the passing of time: 'scheduled' says that a
    -- time to go was set; whether it lies ahead is asked by the query.
    status TEXT NOT NULL GENERATED ALWAYS AS (
        CASE
            WHEN work = 'held' THEN 'held'
            WHEN work = 'sending' THEN 'sending'
            WHEN pending > 0 AND tries > 0 THEN 'deferred'
            WHEN pending > 0 AND scheduled_at IS NOT NULL THEN 'scheduled'
            WHEN pending > 0 THEN 'queued'
            WHEN unknown > 0 THEN 'unknown'
            WHEN sent = recipients THEN 'sent'
            WHEN sent > 0 THEN 'partially_sent'
            WHEN expired = recipients THEN 'expired'
            WHEN canceled = recipients THEN 'canceled'
            ELSE 'failed'
        END
    ) VIRTUAL,
    CHECK ((due_at IS NOT NULL) = (work IN ('queued', 'deferred'))),
    CHECK ((done_at IS NOT NULL) = (work = 'done')),
    CHECK ((attempt IS NOT NULL) = (work = 'sending')),
    CHECK (work <> 'done' OR pending = 0),
    CHECK (work NOT IN ('queued', 'deferred') OR pending > 0)
) STRICT;

CREATE UNIQUE INDEX messages_id ON messages (id);
-- Listings, newest first; the recipients are there for the counting of quotas.
CREATE INDEX messages_tenant ON messages (tenant, seq, recipients);
CREATE INDEX messages_status ON messages (tenant, status, seq, scheduled_at);
CREATE INDEX messages_pair ON messages (pair, seq);
-- The queue of each lane.
CREATE INDEX messages_waiting ON messages (pair, priority, due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX messages_expiry ON messages (expires_at) WHERE pending > 0;
-- Housekeeping: content to erase, messages to forget.
CREATE INDEX messages_content ON messages (status, done_at) WHERE done_at IS NOT NULL AND body IS NOT NULL;
CREATE INDEX messages_done ON messages (done_at) WHERE done_at IS NOT NULL;

-- What a person reads of a message.
CREATE TABLE letters (
    message INTEGER PRIMARY KEY,
    sender TEXT NOT NULL,
    subject TEXT NOT NULL,
    tags TEXT NOT NULL,
    metadata TEXT NOT NULL,
    source TEXT NOT NULL,
    key_id TEXT NOT NULL,
    request_id TEXT NOT NULL
) STRICT;

-- Tags once more, to find messages by them.
CREATE TABLE tags (
    tenant INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    message INTEGER NOT NULL,
    PRIMARY KEY (tenant, name, value, message)
) STRICT, WITHOUT ROWID;

-- attempt is the attempt that gave the result or the last words.
CREATE TABLE recipients (
    message INTEGER NOT NULL,
    no INTEGER NOT NULL,
    tenant INTEGER NOT NULL,
    address TEXT NOT NULL,
    key TEXT NOT NULL,
    wire TEXT NOT NULL,
    kind TEXT NOT NULL,
    result TEXT NOT NULL CHECK (
        result IN ('pending', 'sent', 'rejected', 'expired', 'canceled', 'suppressed', 'unknown', 'bounced')
    ),
    reply TEXT,
    cause TEXT,
    cure TEXT,
    at INTEGER,
    attempt INTEGER,
    PRIMARY KEY (message, no)
) STRICT, WITHOUT ROWID;

CREATE INDEX recipients_key ON recipients (tenant, key, message);

-- One SMTP transaction each. envelope lists the places of its recipients, or is null for all of the message.
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    message INTEGER NOT NULL,
    number INTEGER NOT NULL,
    mailbox TEXT NOT NULL,
    envelope TEXT,
    boot_id TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    started_boot REAL NOT NULL,
    marked_at INTEGER,
    ended_at INTEGER,
    ended_boot REAL,
    outcome TEXT,
    counted INTEGER NOT NULL,
    charged INTEGER NOT NULL,
    reply TEXT,
    trouble TEXT,
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
) STRICT;

CREATE INDEX attempts_message ON attempts (message, id);
CREATE INDEX attempts_open ON attempts (id) WHERE ended_at IS NULL;
CREATE INDEX attempts_ended ON attempts (ended_at) WHERE ended_at IS NOT NULL;

-- The timeline, append-only. attempt is a number within the message, recipient a place.
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    message INTEGER NOT NULL,
    type TEXT NOT NULL,
    at INTEGER NOT NULL,
    attempt INTEGER,
    recipient INTEGER,
    reply TEXT,
    cause TEXT,
    cure TEXT,
    next_attempt_at INTEGER
) STRICT;

CREATE INDEX events_message ON events (message, id);

-- Content in chunks of at most 256 KiB. body is the message's seq, or a negative number where the chunks were staged.
CREATE TABLE content (
    body INTEGER NOT NULL,
    no INTEGER NOT NULL,
    chunk BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX content_body ON content (body, no);

-- Content that belongs to no message: still arriving (named by the message to be), or to be deleted bit by bit.
CREATE TABLE loose (
    body INTEGER PRIMARY KEY,
    message TEXT UNIQUE
) STRICT;

CREATE TABLE idempotency (
    tenant INTEGER NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    status INTEGER NOT NULL,
    location TEXT NOT NULL,
    body BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, route, key)
) STRICT;

CREATE INDEX idempotency_created ON idempotency (created_at);

CREATE TABLE parked (
    mailbox TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    cause TEXT NOT NULL,
    cure TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER,
    fingerprint TEXT NOT NULL,
    probes INTEGER NOT NULL,
    probe_at INTEGER
) STRICT;

CREATE TABLE secrets (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

-- One row that a probe writes, to learn whether the store still can.
CREATE TABLE pulse (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    beats INTEGER NOT NULL
) STRICT;

INSERT INTO pulse (id, beats) VALUES (1, 0);
