"""How long whoever writes to the trace waits for its database, where no deadline comes before."""

WAIT_S = 30.0  #: For another's write; one takes well under a millisecond.
