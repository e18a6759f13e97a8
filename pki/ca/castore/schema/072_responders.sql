CREATE TABLE responder_duty (
	id       TEXT    NOT NULL PRIMARY KEY,
	of_root  BOOLEAN NOT NULL,
	point    BYTEA,
	asked_at BIGINT  NOT NULL,
	done_at  BIGINT
);
