CREATE TABLE ca_key (
	generation BIGINT NOT NULL PRIMARY KEY,
	proposal   TEXT   NOT NULL,
	label      TEXT   NOT NULL,
	der        BYTEA,
	begun_at   BIGINT NOT NULL,
	active_at  BIGINT
);
CREATE UNIQUE INDEX ca_key_proposal ON ca_key (proposal);
