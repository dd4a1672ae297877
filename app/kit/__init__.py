"""The toolbox: clock, named loops, bells, logs, metrics. Knows nothing of mail."""
