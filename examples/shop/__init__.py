"""A web shop whose work runs on pgsched: `python -m examples.shop` plays it from opening to closing time.

tasks.py is what a worker runs and store.py what the web application does; both are worth copying from. gateway.py and
mail_sink.py stand in for the world outside, demo.py conducts.
"""
