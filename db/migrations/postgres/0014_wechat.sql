-- How many customer-service messages a citizen's last actions on WeChat still allow.
CREATE TABLE wechat_window (
    openid_hash TEXT PRIMARY KEY,
    message_at BIGINT NOT NULL,
    message_used BIGINT NOT NULL,
    click_at BIGINT NOT NULL,
    click_used BIGINT NOT NULL
);

-- Voices to be transcribed that belong to a message, not to a call.
CREATE TABLE voice_job (
    id TEXT PRIMARY KEY,
    media TEXT NOT NULL UNIQUE REFERENCES message_media (id),
    message TEXT NOT NULL REFERENCES message (id),
    path TEXT NOT NULL,
    duration_ms BIGINT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    lease_until BIGINT,
    worker TEXT,
    last_error TEXT,
    engine TEXT,
    model TEXT,
    text TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX voice_job_due ON voice_job (state, next_at);
CREATE INDEX voice_job_message ON voice_job (message);
