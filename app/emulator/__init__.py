"""An Exchange Online look-alike for development, tests and demos. Imports only mail and kit."""
