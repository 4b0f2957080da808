-- The room that an account belongs to: a node has another key in every room. Empty is the public swarm.
ALTER TABLE accounts ADD COLUMN room BLOB NOT NULL DEFAULT x'';
-- Each room has a tally of its own.
DROP INDEX accounts_by_earned;
CREATE INDEX accounts_by_earned ON accounts (room, earned_macs DESC, node) WHERE earned_macs > 0;
