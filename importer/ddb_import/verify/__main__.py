"""`python -m ddb_import.verify`."""

from ddb_import.verify.cli import main

main()
