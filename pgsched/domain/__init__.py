"""The words as values, and the decisions: pure, no clock, no randomness, no I/O."""
