-- additive
-- How the two clocks stood to each other when last seen: the wall clock and the one that never jumps, which means
-- something only beside its boot id. A jump of the wall clock between two runs shows in it.
CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    boot_id TEXT NOT NULL,
    boot REAL NOT NULL,
    wall INTEGER NOT NULL
) STRICT;
