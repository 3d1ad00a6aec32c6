"""A seeded storm of faults over the real parts, and a soak; both end in a table of verdicts."""
