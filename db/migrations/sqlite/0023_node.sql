-- Gateways that share this database, each with where the others reach it. Times are the database's own.
CREATE TABLE gateway_node (
    id TEXT PRIMARY KEY,
    boot TEXT NOT NULL,
    peer_address TEXT NOT NULL,
    sip_address TEXT NOT NULL,
    beat_at BIGINT NOT NULL
);

-- Who leads the queues, until when; the term grows with every new leader.
CREATE TABLE queue_leader (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    term BIGINT NOT NULL,
    node TEXT NOT NULL,
    boot TEXT NOT NULL,
    until_at BIGINT NOT NULL
);
