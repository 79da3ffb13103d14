"""The commands, one file each. Whatever is heavy is imported within the function that needs it."""
