CREATE TABLE proposal (
	id         TEXT   NOT NULL PRIMARY KEY,
	matter     TEXT   NOT NULL,
	state      TEXT   NOT NULL,
	seq        BIGINT NOT NULL,
	content    BYTEA  NOT NULL,
	title      TEXT   NOT NULL,
	created_by TEXT   NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	result     BYTEA,
	trouble    BYTEA
);
CREATE INDEX proposal_state ON proposal (state, updated_at);
CREATE INDEX proposal_created ON proposal (created_at, id);
CREATE TABLE proposal_event (
	id   TEXT   NOT NULL,
	seq  BIGINT NOT NULL,
	body BYTEA  NOT NULL,
	PRIMARY KEY (id, seq)
);
