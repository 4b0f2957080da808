-- The node that computed is a stage of its session.
ALTER TABLE receipts RENAME COLUMN worker TO stage;

-- When a session was opened, in seconds since 1970, so that those without receipts can go some day.
-- How old the present ones are is not known: their time begins now.
ALTER TABLE sessions ADD COLUMN opened_s INTEGER NOT NULL DEFAULT 0;
UPDATE sessions SET opened_s = unixepoch();
CREATE INDEX sessions_by_age ON sessions (opened_s);
