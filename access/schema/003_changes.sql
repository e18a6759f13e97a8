CREATE TABLE person_change (
	request  TEXT   NOT NULL PRIMARY KEY,
	digest   BYTEA  NOT NULL,
	result   BYTEA,
	evidence BYTEA,
	at       BIGINT NOT NULL
);
