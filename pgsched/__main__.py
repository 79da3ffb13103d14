"""`python -m pgsched`."""

from pgsched.cli.main import main

main()
