"""`make demo`: an invented company, its traffic, and everything running in one process tree."""
