"""The report of a run: one page that opens offline, and the records that it is made from."""
