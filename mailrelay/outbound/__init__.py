"""From a submission to the next hop."""
