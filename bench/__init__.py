"""Measures Postroom beside its neighbours: the same mail, the same sink, the same machine, everything as a ratio.

``python -m bench.run`` prints the table and writes ``results.json`` and ``results.svg`` beside this file. Neither test
nor part of the product: nothing in ``app`` knows of it, and of ``app`` it knows the HTTP API, the command line and, for
filling stores, the names of tables (``fill``). The method stands in docs/performance.md.
"""
