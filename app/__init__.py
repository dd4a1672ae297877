"""Postroom: the mail desk of an organisation on Microsoft 365.

An application, not a library: it is started by the console script ``postroom`` and never imported by other code.
"""
