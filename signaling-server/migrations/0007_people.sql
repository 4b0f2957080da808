-- When a receipt was credited, seconds since 1970; of those before this, nobody knows. And each node's, the newest first: by the beginning
-- of its key, so that the index of a million receipts stays in the writer's cache.
ALTER TABLE receipts ADD COLUMN credited_s INTEGER;
CREATE INDEX receipts_by_stage ON receipts (substr(stage, 1, 8));
-- What computes there, as it registered last: phone, browser, graphics or native. Boards put like beside like.
ALTER TABLE accounts ADD COLUMN class TEXT;
-- For the boards of a week.
CREATE INDEX days_by_day ON days (day);
-- Teams; whoever has the id may join.
CREATE TABLE teams (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    made_by BLOB NOT NULL,
    made_s INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX teams_by_maker ON teams (made_by);
-- What volunteers said of themselves.
CREATE TABLE people (
    node BLOB PRIMARY KEY,
    -- The name that they chose.
    name TEXT,
    team BLOB REFERENCES teams (id),
    -- When they said the last of it, milliseconds since 1970: what is older counts no more.
    said_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX people_by_team ON people (team) WHERE team IS NOT NULL;
-- What members earned while they were in a team, by day and class; day 0 is the sum of all days, which is kept for ever.
CREATE TABLE team_days (
    team BLOB NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    class TEXT NOT NULL,
    day INTEGER NOT NULL,
    earned_macs INTEGER NOT NULL,
    PRIMARY KEY (team, class, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX team_days_by_day ON team_days (day);
