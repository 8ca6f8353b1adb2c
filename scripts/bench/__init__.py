"""The benchmark: sections of measurements against a stub service, in one table. `make bench` runs it."""
