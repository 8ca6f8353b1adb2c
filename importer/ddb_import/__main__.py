"""`python -m ddb_import`."""

from ddb_import.cli import main

main()
