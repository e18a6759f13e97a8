CREATE TABLE rule_version (
	kind     TEXT   NOT NULL,
	version  BIGINT NOT NULL,
	body     BYTEA  NOT NULL,
	proposal TEXT   NOT NULL,
	at       BIGINT NOT NULL,
	PRIMARY KEY (kind, version)
);
CREATE UNIQUE INDEX rule_version_proposal ON rule_version (proposal);
