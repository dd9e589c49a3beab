"""What is tied to the records found (I7)."""
