CREATE TABLE master_key (
	label      TEXT   NOT NULL PRIMARY KEY,
	retired_at BIGINT NOT NULL
);
INSERT INTO master_key (label, retired_at) SELECT label, 0 FROM master;
