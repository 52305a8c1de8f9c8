-- How many customer-service messages a citizen's last actions on WeChat still allow.
CREATE TABLE wechat_window (
    openid_hash TEXT PRIMARY KEY,
    message_at INTEGER NOT NULL,
    message_used INTEGER NOT NULL,
    click_at INTEGER NOT NULL,
    click_used INTEGER NOT NULL
) STRICT;

-- Voices to be transcribed that belong to a message, not to a call.
CREATE TABLE voice_job (
    id TEXT PRIMARY KEY,
    media TEXT NOT NULL UNIQUE REFERENCES message_media (id),
    message TEXT NOT NULL REFERENCES message (id),
    path TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    lease_until INTEGER,
    worker TEXT,
    last_error TEXT,
    engine TEXT,
    model TEXT,
    text TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX voice_job_due ON voice_job (state, next_at);
CREATE INDEX voice_job_message ON voice_job (message);
