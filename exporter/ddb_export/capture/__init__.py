"""Copies the changes of a table's stream into the log of an export, and closes it with proof."""
