-- Written contacts, the conversations they form, and who isn't heard.

-- A citizen may be known by an openid or a mail address as well: hashed and sealed like the number.
-- (The column never held anything before.)
ALTER TABLE party RENAME COLUMN openid TO openid_hash;
ALTER TABLE party ADD COLUMN openid_sealed BYTEA;
ALTER TABLE party ADD COLUMN openid_mask TEXT;
ALTER TABLE party ADD COLUMN mail_hash TEXT;
ALTER TABLE party ADD COLUMN mail_sealed BYTEA;
ALTER TABLE party ADD COLUMN mail_mask TEXT;
ALTER TABLE party ADD COLUMN texts_stopped_at BIGINT;
CREATE UNIQUE INDEX party_mail_hash ON party (mail_hash);

-- Messages of one citizen on one channel that belong together; act_at is its timer.
CREATE TABLE conversation (
    id TEXT PRIMARY KEY,
    channel TEXT NOT NULL,
    line TEXT NOT NULL,
    party TEXT REFERENCES party (id),
    state TEXT NOT NULL,
    first_contact TEXT NOT NULL REFERENCES contact (id),
    first_seq BIGINT NOT NULL,
    opened_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    parts BIGINT NOT NULL,
    told_at BIGINT,
    red BOOLEAN NOT NULL,
    test BOOLEAN NOT NULL,
    asked TEXT,
    receipt_at BIGINT,
    item TEXT REFERENCES item (id),
    act_at BIGINT
);
CREATE UNIQUE INDEX conversation_open ON conversation (channel, party) WHERE state = '进行';
CREATE INDEX conversation_due ON conversation (act_at) WHERE act_at IS NOT NULL;
CREATE INDEX conversation_item ON conversation (item);

CREATE TABLE message (
    id TEXT PRIMARY KEY,
    contact TEXT NOT NULL UNIQUE REFERENCES contact (id),
    seq BIGINT NOT NULL,
    channel TEXT NOT NULL,
    line TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    addressed TEXT NOT NULL,
    sender_mask TEXT NOT NULL,
    party TEXT REFERENCES party (id),
    conversation TEXT REFERENCES conversation (id),
    item TEXT REFERENCES item (id),
    state TEXT NOT NULL,
    text TEXT NOT NULL,
    redacted_text TEXT NOT NULL,
    lon DOUBLE PRECISION,
    lat DOUBLE PRECISION,
    datum TEXT,
    place_label TEXT,
    red BOOLEAN NOT NULL,
    test BOOLEAN NOT NULL,
    link TEXT,
    at BIGINT NOT NULL,
    UNIQUE (channel, dedup_key)
);
CREATE INDEX message_conversation ON message (conversation, seq) WHERE conversation IS NOT NULL;
CREATE INDEX message_item ON message (item, seq) WHERE item IS NOT NULL;
CREATE INDEX message_seq ON message (seq);

-- What came with a message: a file of ours (sha256), or one still to be fetched from the channel.
CREATE TABLE message_media (
    id TEXT PRIMARY KEY,
    message TEXT NOT NULL REFERENCES message (id),
    n BIGINT NOT NULL,
    channel TEXT NOT NULL,
    line TEXT NOT NULL,
    kind TEXT NOT NULL,
    sha256 TEXT,
    reference TEXT,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    lease_until BIGINT,
    last_error TEXT,
    UNIQUE (message, n)
);
CREATE INDEX message_media_due ON message_media (channel, next_at) WHERE state = '待取';

-- Senders who aren't heard, by the keyed hash of number, openid or address; kept after it ended.
CREATE TABLE block (
    id TEXT PRIMARY KEY,
    subject_hash TEXT NOT NULL,
    subject_mask TEXT NOT NULL,
    reason TEXT NOT NULL,
    from_at BIGINT NOT NULL,
    until_at BIGINT,
    created_by TEXT NOT NULL,
    lifted_at BIGINT,
    lifted_by TEXT
);
CREATE INDEX block_subject ON block (subject_hash) WHERE lifted_at IS NULL;
