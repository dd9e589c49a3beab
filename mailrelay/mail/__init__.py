"""Messages as bytes and trees; each file one RFC family, usable alone."""
