-- Passkeys of site owners. An account is 32 bytes: the public key of a recovery file, or, where a passkey opened it, the nonce that
-- the server gave for that.
CREATE TABLE owner_passkeys (
    credential BLOB PRIMARY KEY,
    owner BLOB NOT NULL,
    -- COSE's number of its algorithm, and the public key.
    kind INTEGER NOT NULL,
    key BLOB NOT NULL,
    -- How often it has signed, as it says.
    counter INTEGER NOT NULL,
    made_s INTEGER NOT NULL,
    used_s INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX owner_passkeys_by_owner ON owner_passkeys (owner, made_s);
-- Keys of recovery files that open an account which has passkeys too.
CREATE TABLE owner_files (
    key BLOB PRIMARY KEY,
    owner BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX owner_files_by_owner ON owner_files (owner);
