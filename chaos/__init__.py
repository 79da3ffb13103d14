"""Faults, injected into real workers on a real Postgres, and a checker of what came of it."""
