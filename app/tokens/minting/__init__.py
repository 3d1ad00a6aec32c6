"""The providers of build tokens: one file for each, all of them a `TokenMinter`."""
