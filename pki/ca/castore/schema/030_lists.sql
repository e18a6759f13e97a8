ALTER TABLE status_change ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;
CREATE INDEX status_change_seq ON status_change (seq);
ALTER TABLE crl ADD COLUMN upto BIGINT NOT NULL DEFAULT -1;
CREATE INDEX revoked_ends ON revoked (not_after);
CREATE TABLE crl_sealed (
	number    BIGINT NOT NULL PRIMARY KEY,
	leaf      BIGINT NOT NULL,
	signature BYTEA  NOT NULL
);
CREATE INDEX crl_sealed_leaf ON crl_sealed (leaf);
ALTER TABLE status_change ADD COLUMN was BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE crl ADD COLUMN size BIGINT NOT NULL DEFAULT 0;
ALTER TABLE crl ADD COLUMN split BIGINT NOT NULL DEFAULT 0;
CREATE TABLE crl_block (
	block   BIGINT NOT NULL PRIMARY KEY,
	entries BYTEA  NOT NULL
);
CREATE TABLE crl_part (
	number   BIGINT NOT NULL,
	position BIGINT NOT NULL,
	block    BIGINT NOT NULL,
	PRIMARY KEY (number, position)
);
