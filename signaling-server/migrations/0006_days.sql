-- What each node earned on each day (UTC, counted from 1970), for its own plot: summed in the transaction that credits a receipt. What
-- was earned before this table was there has no day.
CREATE TABLE days (
    node BLOB NOT NULL,
    day INTEGER NOT NULL,
    earned_macs INTEGER NOT NULL,
    receipts INTEGER NOT NULL,
    PRIMARY KEY (node, day)
) STRICT, WITHOUT ROWID;
