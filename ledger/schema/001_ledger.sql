CREATE TABLE ledger_head (
	log      TEXT   NOT NULL PRIMARY KEY,
	size     BIGINT NOT NULL,
	frontier BYTEA  NOT NULL
);
CREATE TABLE ledger_leaf (
	log  TEXT   NOT NULL,
	idx  BIGINT NOT NULL,
	leaf BYTEA  NOT NULL,
	PRIMARY KEY (log, idx)
);
