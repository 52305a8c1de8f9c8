-- Parts of incoming long messages, kept until all are there or the wait is over, and short messages
-- whose carrier's id doesn't tell one from the next. Acknowledged once they are here.
CREATE TABLE sms_part (
    id TEXT PRIMARY KEY,
    grp TEXT NOT NULL,
    group_key TEXT NOT NULL,
    number INTEGER NOT NULL,
    total INTEGER NOT NULL,
    hash TEXT NOT NULL,
    line TEXT NOT NULL,
    sender BLOB NOT NULL,
    recipient TEXT NOT NULL,
    coding INTEGER NOT NULL,
    content BLOB NOT NULL,
    first_at INTEGER NOT NULL,
    at INTEGER NOT NULL,
    taken_at INTEGER
) STRICT;
CREATE INDEX sms_part_key ON sms_part (group_key, first_at);
CREATE INDEX sms_part_group ON sms_part (grp, number);
CREATE INDEX sms_part_open ON sms_part (first_at) WHERE taken_at IS NULL;
CREATE INDEX sms_part_taken ON sms_part (taken_at) WHERE taken_at IS NOT NULL;
