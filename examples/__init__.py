"""Programs that use pgsched the way users do. Start with hello.py; `make demo` runs shop/."""
