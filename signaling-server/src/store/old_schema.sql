CREATE TABLE IF NOT EXISTS sessions (
    id BLOB PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS receipts (
    id BLOB PRIMARY KEY,
    session BLOB NOT NULL REFERENCES sessions (id),
    worker BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    to_position INTEGER NOT NULL,
    macs INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (session, worker, sequence)
) STRICT;
CREATE TABLE IF NOT EXISTS postings (
    receipt BLOB NOT NULL REFERENCES receipts (id),
    account TEXT NOT NULL,
    node BLOB NOT NULL,
    macs INTEGER NOT NULL,
    PRIMARY KEY (receipt, account, node)
) STRICT;
CREATE INDEX IF NOT EXISTS postings_by_account ON postings (account, node);
CREATE TABLE IF NOT EXISTS nodes (
    node BLOB PRIMARY KEY,
    kind TEXT NOT NULL
) STRICT;
