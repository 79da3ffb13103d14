"""`python -m examples.shop`, or `make demo`."""

import sys

from examples.shop.demo import main

sys.exit(main())
