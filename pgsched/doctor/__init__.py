"""What is wrong with a database and its workers, and what mends it: facts that the store looked up, judged by checks.

A check is a pure function from facts to findings: `checkup.CHECKS` lists them all. Changes nothing, anywhere.
"""
