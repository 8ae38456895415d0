"""From the figures of a run to tables, pictures and the report."""
