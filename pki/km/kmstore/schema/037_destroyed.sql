CREATE TABLE destroyed (
	pair       BIGINT NOT NULL PRIMARY KEY,
	ca         TEXT   NOT NULL,
	serial     BYTEA  NOT NULL,
	point      BYTEA  NOT NULL,
	retired_at BIGINT NOT NULL,
	proposal   TEXT   NOT NULL,
	at         BIGINT NOT NULL
);
CREATE UNIQUE INDEX destroyed_serial ON destroyed (ca, serial);
CREATE INDEX destroyed_proposal ON destroyed (proposal, pair);
CREATE INDEX held_retired ON held (retired_at) WHERE state = 3;
