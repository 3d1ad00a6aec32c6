"""What `baton doctor` looks at: one file for each thing that can be wrong."""
