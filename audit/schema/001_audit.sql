CREATE TABLE audit_entry (
	idx    BIGINT NOT NULL PRIMARY KEY,
	at     BIGINT NOT NULL,
	who    TEXT   NOT NULL,
	item   TEXT   NOT NULL,
	object TEXT   NOT NULL,
	serial TEXT   NOT NULL,
	result TEXT   NOT NULL
);
CREATE INDEX audit_who ON audit_entry (who, idx);
CREATE INDEX audit_object ON audit_entry (object, idx);
CREATE TABLE audit_mark (
	idx      BIGINT NOT NULL PRIMARY KEY,
	first    BIGINT NOT NULL,
	last     BIGINT NOT NULL,
	who      TEXT   NOT NULL,
	at       BIGINT NOT NULL
);
