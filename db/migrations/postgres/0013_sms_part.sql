-- Parts of incoming long messages, kept until all are there or the wait is over, and short messages
-- whose carrier's id doesn't tell one from the next. Acknowledged once they are here.
CREATE TABLE sms_part (
    id TEXT PRIMARY KEY,
    grp TEXT NOT NULL,
    group_key TEXT NOT NULL,
    number BIGINT NOT NULL,
    total BIGINT NOT NULL,
    hash TEXT NOT NULL,
    line TEXT NOT NULL,
    sender BYTEA NOT NULL,
    recipient TEXT NOT NULL,
    coding BIGINT NOT NULL,
    content BYTEA NOT NULL,
    first_at BIGINT NOT NULL,
    at BIGINT NOT NULL,
    taken_at BIGINT
);
CREATE INDEX sms_part_key ON sms_part (group_key, first_at);
CREATE INDEX sms_part_group ON sms_part (grp, number);
CREATE INDEX sms_part_open ON sms_part (first_at) WHERE taken_at IS NULL;
CREATE INDEX sms_part_taken ON sms_part (taken_at) WHERE taken_at IS NOT NULL;
