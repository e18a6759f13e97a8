CREATE TABLE person (
	id         TEXT    NOT NULL,
	cert_sm3   BYTEA   NOT NULL PRIMARY KEY,
	name       TEXT    NOT NULL,
	roles      TEXT    NOT NULL,
	cert       BYTEA   NOT NULL,
	disabled   BOOLEAN NOT NULL,
	created_by TEXT    NOT NULL,
	created_at BIGINT  NOT NULL
);
CREATE INDEX person_id ON person (id);
CREATE TABLE used_nonce (
	nonce TEXT   NOT NULL PRIMARY KEY,
	at    BIGINT NOT NULL
);
