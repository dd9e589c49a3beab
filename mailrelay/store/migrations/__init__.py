"""Steps of the schema, forward only; `store.schema.migrate` runs them at start."""
