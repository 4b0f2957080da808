-- Balances, kept in the transaction that credits a receipt instead of summed over all of them. What a node earned for
-- others is what they used, so both columns have the same sum: credit is moved, never made.
CREATE TABLE accounts (
    node BLOB PRIMARY KEY,
    -- A page or a program, as the node said when it last registered; unknown for those who only ask.
    kind TEXT,
    earned_macs INTEGER NOT NULL,
    used_macs INTEGER NOT NULL,
    -- How many receipts were credited to the node.
    receipts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO accounts (node, kind, earned_macs, used_macs, receipts)
    SELECT p.node, (SELECT kind FROM nodes n WHERE n.node = p.node),
        COALESCE(SUM(p.macs) FILTER (WHERE p.account = 'earned'), 0),
        COALESCE(-SUM(p.macs) FILTER (WHERE p.account = 'used'), 0),
        COUNT(*) FILTER (WHERE p.account = 'earned')
    FROM postings p GROUP BY p.node;
-- The tally's order. Who earned nothing is not in it.
CREATE INDEX accounts_by_earned ON accounts (earned_macs DESC, node) WHERE earned_macs > 0;

-- A receipt is the transfer from its requester to its stage, so it needs no postings beside it; and it is found by its
-- number, so it needs no second index by id. New ones are appended: only the index is written in places all over.
CREATE TABLE credited (
    id BLOB NOT NULL,
    session BLOB NOT NULL,
    stage BLOB NOT NULL,
    requester BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    to_position INTEGER NOT NULL,
    macs INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (session, stage, sequence)
) STRICT;
INSERT INTO credited (id, session, stage, requester, sequence, to_position, macs, body)
    SELECT r.id, r.session, r.stage, p.node, r.sequence, r.to_position, r.macs, r.body
    FROM receipts r JOIN postings p ON p.receipt = r.id AND p.account = 'used' ORDER BY r.rowid;
DROP TABLE postings;
DROP TABLE receipts;
ALTER TABLE credited RENAME TO receipts;

-- Tickets, which the server signs and the stages keep, take the place of sessions.
DROP TABLE sessions;
DROP TABLE nodes;
