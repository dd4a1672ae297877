"""The commands of the command line, a file for each group; ``app.cli`` puts them together."""
