-- What an operator's phone is where it isn't simply the one that registers: an outside number, one that answers itself.
CREATE TABLE desk_phone (
    account TEXT PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    number_sealed BYTEA,
    number_mask TEXT,
    auto_answer BOOLEAN NOT NULL,
    updated_at BIGINT NOT NULL
);
