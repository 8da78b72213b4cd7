"""The longest wait for the trace's database, where no earlier deadline is set."""

WAIT_S = 30.0  #: Seconds to wait for another's write, which takes well under a millisecond.
