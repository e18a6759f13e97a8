CREATE TABLE evidence (
	sm3    BYTEA  NOT NULL PRIMARY KEY,
	name   TEXT   NOT NULL,
	size   BIGINT NOT NULL,
	who    TEXT   NOT NULL,
	at     BIGINT NOT NULL,
	sealed BYTEA  NOT NULL
);
CREATE INDEX batch_at ON batch (at, id);
