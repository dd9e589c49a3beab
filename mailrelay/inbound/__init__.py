"""From a socket to a filed message."""
