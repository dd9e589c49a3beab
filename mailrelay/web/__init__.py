"""The HTTP faces: the API, and what the operator's tools ask. They decide nothing; they call what does."""
