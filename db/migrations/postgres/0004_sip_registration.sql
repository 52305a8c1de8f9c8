-- Where phones are registered, and who is banned: both outlive a restart.
CREATE TABLE sip_registration (
    node TEXT NOT NULL,
    sip_user TEXT NOT NULL,
    contact TEXT NOT NULL,
    transport TEXT NOT NULL,
    local_address TEXT NOT NULL,
    remote_address TEXT NOT NULL,
    q BIGINT NOT NULL,
    call_id TEXT NOT NULL,
    cseq BIGINT NOT NULL,
    instance TEXT,
    reg_id BIGINT,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (node, sip_user, contact)
);

CREATE TABLE sip_ban (
    node TEXT NOT NULL,
    source TEXT NOT NULL,
    reason TEXT NOT NULL,
    times BIGINT NOT NULL,
    from_at BIGINT NOT NULL,
    until_at BIGINT NOT NULL,
    lifted_at BIGINT,
    PRIMARY KEY (node, source)
);
