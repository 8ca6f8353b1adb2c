"""The table's definition on the destination's side: what is wanted, what is there, and the way between them."""
