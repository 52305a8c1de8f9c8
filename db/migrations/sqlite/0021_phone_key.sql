-- Passwords of browser phones, one an account, good for one shift.
CREATE TABLE phone_key (
    account TEXT PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    ha1_md5 TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
