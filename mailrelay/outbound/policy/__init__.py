"""Every decision on the way out: pure, from facts to a decision."""
