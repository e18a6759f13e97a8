CREATE TABLE custody (
	id   BIGINT NOT NULL PRIMARY KEY,
	body BYTEA  NOT NULL
);
CREATE TABLE release_share (
	proposal  TEXT  NOT NULL,
	custodian TEXT  NOT NULL,
	sealed    BYTEA NOT NULL,
	PRIMARY KEY (proposal, custodian)
);
