"""Forward-mode derivatives in one thread at a time.

torch counts the levels of forward-mode derivatives in one global number, so two threads that differentiate at once mix their
tangents.
"""

from threading import Lock

ONE_AT_A_TIME = Lock()
