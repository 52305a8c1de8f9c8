-- Every decision about a call to an outside number, and what the daily caps count.
CREATE TABLE dialout (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    day BIGINT NOT NULL,
    number_hash TEXT NOT NULL,
    number_mask TEXT NOT NULL,
    purpose TEXT NOT NULL,
    task TEXT,
    call TEXT,
    operator TEXT,
    refusal TEXT
);
CREATE INDEX dialout_day ON dialout (day, number_hash) WHERE refusal IS NULL;

CREATE TRIGGER dialout_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON dialout
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
