"""The doctor: examines what the service relies on, step by step, and says what to do about what is wrong."""
