"""linnet under the names of other runtimes, for programs that were written for those."""
