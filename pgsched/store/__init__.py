"""The only room that speaks SQL: one statement a file, one operation a promise."""
