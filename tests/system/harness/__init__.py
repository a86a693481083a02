"""What the system tests are made of: the daemon, its admin socket, backends, clients and load.

Nothing here sleeps to wait for a state: a test waits for bytes, for an event, or for a process. Where the
outside world offers no event, wait_until looks again, up to a limit.
"""
