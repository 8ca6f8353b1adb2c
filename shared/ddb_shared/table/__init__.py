"""A table: its description, its settings, its capacity, its scan segments."""
