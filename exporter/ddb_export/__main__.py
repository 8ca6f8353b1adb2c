"""`python -m ddb_export`."""

from ddb_export.cli import main

main()
