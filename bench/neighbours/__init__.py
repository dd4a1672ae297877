"""Other ways to put an HTTP endpoint before an SMTP server, as people write them; each in one small file.

Each takes ``POST /send`` with ``from``, ``to``, ``subject`` and ``text``, listens on ``BENCH_PORT`` and sends to
``BENCH_SMTP_PORT`` of 127.0.0.1, trusting the certificate authority in ``BENCH_CA``.
"""
