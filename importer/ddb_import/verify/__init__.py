"""Proves that a table holds exactly an export, or what another table holds."""
