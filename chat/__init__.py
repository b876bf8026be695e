"""The running program: engine, store, session, command line and screen."""
