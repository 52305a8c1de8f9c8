-- Where phones are registered, and who is banned: both outlive a restart.
CREATE TABLE sip_registration (
    node TEXT NOT NULL,
    sip_user TEXT NOT NULL,
    contact TEXT NOT NULL,
    transport TEXT NOT NULL,
    local_address TEXT NOT NULL,
    remote_address TEXT NOT NULL,
    q INTEGER NOT NULL,
    call_id TEXT NOT NULL,
    cseq INTEGER NOT NULL,
    instance TEXT,
    reg_id INTEGER,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (node, sip_user, contact)
) STRICT;

CREATE TABLE sip_ban (
    node TEXT NOT NULL,
    source TEXT NOT NULL,
    reason TEXT NOT NULL,
    times INTEGER NOT NULL,
    from_at INTEGER NOT NULL,
    until_at INTEGER NOT NULL,
    lifted_at INTEGER,
    PRIMARY KEY (node, source)
) STRICT;
