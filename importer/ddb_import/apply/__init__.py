"""Applies changes to a table: of a captured log, or of AWS's incremental exports."""
