"""All SQL of mailrelay, and nothing else has any: SQLAlchemy Core, one text for SQLite and PostgreSQL."""
