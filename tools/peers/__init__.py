"""Real and pretended peers of usher for tests and for the demonstration.

Everything here is started on loopback, from private folders, without touching what the machine
itself runs, and is gone when its object is stopped. Nothing sleeps to synchronise: what must
happen is waited for with a deadline.
"""
