"""The language of mail: address, reply, message, verdict, schedule, senders, compose. Pure; no I/O."""
