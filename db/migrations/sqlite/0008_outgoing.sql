-- Texts we owe citizens, on whatever channel: written in the transaction of what caused them.
CREATE TABLE outgoing (
    id TEXT PRIMARY KEY,
    channel TEXT NOT NULL,
    line TEXT,
    to_hash TEXT NOT NULL,
    to_sealed BLOB NOT NULL,
    to_mask TEXT NOT NULL,
    template TEXT NOT NULL,
    params TEXT NOT NULL,
    text TEXT NOT NULL,
    purpose TEXT NOT NULL,
    dedup_key TEXT UNIQUE,
    conversation TEXT REFERENCES conversation (id),
    item TEXT REFERENCES item (id),
    party TEXT REFERENCES party (id),
    once INTEGER NOT NULL,
    test INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    lease_until INTEGER,
    expires_at INTEGER NOT NULL,
    sent_line TEXT,
    submitted_at INTEGER,
    reported_at INTEGER,
    code TEXT,
    last_error TEXT,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX outgoing_due ON outgoing (channel, next_at) WHERE state IN ('待发', '发送中');
CREATE INDEX outgoing_to ON outgoing (to_hash, created_at);
CREATE INDEX outgoing_item ON outgoing (item) WHERE item IS NOT NULL;
CREATE INDEX outgoing_conversation ON outgoing (conversation) WHERE conversation IS NOT NULL;

-- The carrier's id of each part of a text, with what it reported. A report that came before its id
-- (outgoing IS NULL) waits here for it.
CREATE TABLE outgoing_part (
    id TEXT PRIMARY KEY,
    line TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    outgoing TEXT REFERENCES outgoing (id),
    n INTEGER,
    state TEXT NOT NULL,
    code TEXT,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX outgoing_part_provider ON outgoing_part (line, provider_id);
CREATE INDEX outgoing_part_outgoing ON outgoing_part (outgoing);
CREATE INDEX outgoing_part_orphan ON outgoing_part (at) WHERE outgoing IS NULL;
