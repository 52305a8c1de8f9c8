-- Every decision about a call to an outside number, and what the daily caps count.
CREATE TABLE dialout (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    day INTEGER NOT NULL,
    number_hash TEXT NOT NULL,
    number_mask TEXT NOT NULL,
    purpose TEXT NOT NULL,
    task TEXT,
    call TEXT,
    operator TEXT,
    refusal TEXT
) STRICT;
CREATE INDEX dialout_day ON dialout (day, number_hash) WHERE refusal IS NULL;

CREATE TRIGGER dialout_no_update BEFORE UPDATE ON dialout
BEGIN SELECT RAISE(ABORT, 'dialout is append-only'); END;
CREATE TRIGGER dialout_no_delete BEFORE DELETE ON dialout
BEGIN SELECT RAISE(ABORT, 'dialout is append-only'); END;
