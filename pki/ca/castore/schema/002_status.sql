CREATE TABLE status_change (
	request    TEXT    NOT NULL,
	serial     BYTEA   NOT NULL,
	at         BIGINT  NOT NULL,
	changed_at BIGINT  NOT NULL,
	revoked    BOOLEAN NOT NULL,
	reason     BIGINT  NOT NULL,
	PRIMARY KEY (request, serial)
);
CREATE INDEX status_change_at ON status_change (changed_at);
INSERT INTO status_change (request, serial, at, changed_at, revoked, reason)
SELECT r.request, r.serial, r.revoked_at, r.revoked_at * 1000, c.revoked, c.reason FROM revoked r JOIN certificate c ON c.serial = r.serial;
ALTER TABLE revoked ADD COLUMN not_after BIGINT NOT NULL DEFAULT 0;
ALTER TABLE crl ADD COLUMN base BIGINT NOT NULL DEFAULT 0;
