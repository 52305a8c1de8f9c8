-- What citizens send along; the file lies under its sum. Place and time are what a picture itself tells.
CREATE TABLE attachment (
    sha256 TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    width BIGINT,
    height BIGINT,
    lon DOUBLE PRECISION,
    lat DOUBLE PRECISION,
    taken_at BIGINT,
    stored_at BIGINT NOT NULL
);
CREATE INDEX message_media_sha256 ON message_media (sha256) WHERE sha256 IS NOT NULL;

-- One-time links to the report page and the survey; only a hash of the token is kept.
CREATE TABLE web_link (
    token_hash TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    party TEXT REFERENCES party (id),
    contact TEXT REFERENCES contact (id),
    call TEXT REFERENCES call (id),
    item TEXT REFERENCES item (id),
    task TEXT REFERENCES callback_task (id),
    created_by TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    opened_at BIGINT,
    used_at BIGINT,
    message TEXT
);
CREATE INDEX web_link_call ON web_link (call) WHERE call IS NOT NULL;
CREATE INDEX web_link_task ON web_link (task) WHERE task IS NOT NULL;
CREATE INDEX web_link_expires ON web_link (expires_at);
