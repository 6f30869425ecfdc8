"""The work: a phase or a command a file, and the parts that they share."""
