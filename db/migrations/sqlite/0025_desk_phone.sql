-- What an operator's phone is where it isn't simply the one that registers: an outside number, one that answers itself.
CREATE TABLE desk_phone (
    account TEXT PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    number_sealed BLOB,
    number_mask TEXT,
    auto_answer INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
