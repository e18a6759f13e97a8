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
