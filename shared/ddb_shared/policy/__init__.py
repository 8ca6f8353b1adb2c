"""The policies that a move between two accounts needs, with the least actions that the commands call."""
