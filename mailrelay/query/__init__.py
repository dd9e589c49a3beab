"""The filter language (K2): text → tree → what it means, with the column of what is wrong. docs/find.md has its grammar."""
