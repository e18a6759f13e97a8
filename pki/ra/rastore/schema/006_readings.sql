CREATE TABLE personal_read (
	who    TEXT   NOT NULL,
	day    BIGINT NOT NULL,
	way    TEXT   NOT NULL,
	times  BIGINT NOT NULL,
	people BIGINT NOT NULL,
	last   BIGINT NOT NULL,
	PRIMARY KEY (who, day, way)
);
