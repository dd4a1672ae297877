"""Access tokens for modern sign-in.

``build_tokens`` makes the one source of tokens for a sign-in; everything else here serves it. Knows mail's contracts
and the clock, no SMTP and no store.
"""
