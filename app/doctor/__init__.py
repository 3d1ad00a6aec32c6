"""The checks of `baton doctor`: one file for each part that can be wrong."""
