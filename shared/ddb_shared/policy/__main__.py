"""`python -m ddb_shared.policy`."""

from ddb_shared.policy.cli import main

main()
