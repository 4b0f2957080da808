-- Sites that show the widget. Their owner is a public key and nothing else.
CREATE TABLE sites (
    key BLOB PRIMARY KEY,
    owner BLOB NOT NULL,
    name TEXT NOT NULL,
    -- Switched off by the owner: 0.
    is_on INTEGER NOT NULL,
    registered_s INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Where a site's pages are, and when its key was found there; never: NULL.
CREATE TABLE site_origins (
    site BLOB NOT NULL REFERENCES sites (key) ON DELETE CASCADE,
    origin TEXT NOT NULL,
    proved_s INTEGER,
    PRIMARY KEY (site, origin)
) STRICT, WITHOUT ROWID;
-- Counts by day, in universal time; no visitor is in them.
CREATE TABLE site_days (
    site BLOB NOT NULL REFERENCES sites (key) ON DELETE CASCADE,
    -- Days since 1970.
    day INTEGER NOT NULL,
    shown INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    seconds INTEGER NOT NULL,
    macs INTEGER NOT NULL,
    PRIMARY KEY (site, day)
) STRICT, WITHOUT ROWID;
