CREATE TABLE issue_offline (
	profile TEXT  NOT NULL PRIMARY KEY,
	way     BYTEA NOT NULL
);
