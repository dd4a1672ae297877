"""The measurements, one file for each group of rows; ``run(scene)`` does one round and returns its readings by name."""
