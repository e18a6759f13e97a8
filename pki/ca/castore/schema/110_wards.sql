CREATE TABLE ward (
	number   BIGINT  NOT NULL PRIMARY KEY,
	proposal TEXT    NOT NULL,
	manifest TEXT    NOT NULL,
	label    TEXT    NOT NULL,
	der      BYTEA   NOT NULL,
	done     BOOLEAN NOT NULL,
	begun_at BIGINT  NOT NULL
);
CREATE UNIQUE INDEX ward_proposal ON ward (proposal);
CREATE UNIQUE INDEX ward_manifest ON ward (manifest);
CREATE TABLE handover_piece (
	manifest TEXT   NOT NULL,
	no       BIGINT NOT NULL,
	body     BYTEA  NOT NULL,
	kept_at  BIGINT NOT NULL,
	PRIMARY KEY (manifest, no)
);
CREATE TABLE ward_piece (
	proposal TEXT   NOT NULL,
	no       BIGINT NOT NULL,
	taken_at BIGINT NOT NULL,
	PRIMARY KEY (proposal, no)
);
